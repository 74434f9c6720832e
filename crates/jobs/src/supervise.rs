//! One call of a sub-task under supervision: limit, cancellation, panics, warnings.

use std::{any::Any, future::Future, panic::AssertUnwindSafe, pin::pin, sync::Arc, time::Duration};

use futures::FutureExt as _;
use serde_json::Value;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;
use tresor_problem::{Kind, Problem};

use crate::{EngineError, JobEvent, Scope, engine::Run, hold, trace::sub_task_span};

/// Why an action is asked to end.
#[derive(Clone, Copy)]
enum Stop {
    Cancelled,
    LimitPassed,
}

impl<C: Send> Run<'_, C> {
    /// Runs the action of a sub-task. Its warnings are recorded as they come.
    pub(crate) async fn supervise(
        &mut self,
        ctx: &mut C,
        index: usize,
    ) -> Result<Result<Value, Problem>, EngineError> {
        let plan = self.plan;
        let task = &plan.sub_tasks[index];
        let limit = task.limit();
        // Cleaning up behind a commit is not for the user to cancel, only for the limit.
        let committed = self.view.is_committed();
        let job_cancel = self.watch.cancel.clone();
        let cancel = if committed {
            CancellationToken::new()
        } else {
            job_cancel.child_token()
        };
        let (warnings, mut warned) = mpsc::channel(Scope::warning_room());
        let scope = Scope {
            job: plan.id,
            sub_task: index,
            cancel: cancel.clone(),
            deadline: limit.and_then(|limit| Instant::now().checked_add(limit)),
            observer: Arc::clone(&self.observer),
            latest: self.watch.progress.clone(),
            warnings,
            warned: Arc::default(),
        };
        let deadline = scope.deadline;
        let run = hold::during(index, task.run(ctx, &scope));
        let span = sub_task_span(plan.id, index, task.name());
        let mut action = pin!(caught(task.name(), run).instrument(span));
        let mut stop: Option<(Stop, Instant)> = None;
        let result = loop {
            tokio::select! {
                biased;
                Some(warning) = warned.recv() => {
                    let event = JobEvent::Warned { sub_task: Some(index), warning };
                    self.record(event).await?;
                }
                result = &mut action => break result,
                () = cancel.cancelled(), if stop.is_none() => {
                    stop = Some((Stop::Cancelled, Instant::now() + self.engine.tuning.grace));
                }
                () = until(deadline), if stop.is_none() => {
                    stop = Some((Stop::LimitPassed, Instant::now() + self.engine.tuning.grace));
                    cancel.cancel();
                }
                () = until(stop.map(|(_, end)| end)), if stop.is_some() => {
                    break Err(internal(format!(
                        "\"{}\" did not end when it was told to, and was dropped.", task.name()
                    )));
                }
            }
        };
        while let Ok(warning) = warned.try_recv() {
            let sub_task = Some(index);
            self.record(JobEvent::Warned { sub_task, warning }).await?;
        }
        Ok(match (result, stop) {
            (Err(problem), Some((Stop::LimitPassed, _))) => Err(timed_out(
                task.name(),
                limit.unwrap_or_default(),
                Some(problem),
            )),
            (result, _) => result,
        })
    }

    /// Asks a committing sub-task that was cut short whether it did commit.
    pub(crate) async fn settle(&self, ctx: &mut C, index: usize) -> Result<Option<Value>, Problem> {
        let task = &self.plan.sub_tasks[index];
        limited(task.name(), task.undo_limit(), task.settle(ctx)).await
    }

    /// Runs the undo of a sub-task, shielded from cancellation.
    pub(crate) async fn undo(&self, ctx: &mut C, index: usize) -> Result<(), Problem> {
        let task = &self.plan.sub_tasks[index];
        let output = self.view.sub_tasks[index].output.as_ref();
        let span = sub_task_span(self.plan.id, index, task.name());
        let undo = limited(task.name(), task.undo_limit(), task.undo(ctx, output));
        undo.instrument(span).await
    }
}

/// Runs a call to its end, with a limit, whatever happens in it.
pub(crate) async fn limited<T>(
    name: &str,
    limit: Duration,
    call: impl Future<Output = Result<T, Problem>>,
) -> Result<T, Problem> {
    match timeout(limit, caught(name, call)).await {
        Ok(result) => result,
        Err(_) => Err(timed_out(name, limit, None)),
    }
}

/// Turns a panic into a problem. The context may hold half a change then; undo is written for that.
async fn caught<T>(
    name: &str,
    call: impl Future<Output = Result<T, Problem>>,
) -> Result<T, Problem> {
    match AssertUnwindSafe(call).catch_unwind().await {
        Ok(result) => result,
        Err(payload) => {
            let said = panic_text(payload.as_ref());
            Err(internal(format!("\"{name}\" panicked: {said}")))
        }
    }
}

fn panic_text(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no text")
}

fn timed_out(name: &str, limit: Duration, ended_with: Option<Problem>) -> Problem {
    let kind = Kind::SubTaskTimedOut {
        sub_task: name.to_owned(),
        limit_s: limit.as_secs().to_string(),
    };
    match ended_with {
        Some(problem) => Problem::caused_by(kind, &problem),
        None => kind.into(),
    }
}

pub(crate) fn internal(what: String) -> Problem {
    Kind::Internal { what }.into()
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
