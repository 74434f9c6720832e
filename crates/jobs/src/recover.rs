//! Takes over the job of a dead process.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;
use tresor_model::{JobId, SubTaskState};
use tresor_problem::{Kind, Problem};

use crate::{
    Engine, EngineError, JobEvent, JobOutcome, JobPlan, LogError, LogErrorKind, Observer, Recovery,
    Silent, UnwindReason, decide_recovery, engine::Run, trace::job_span,
};

impl Engine {
    /// Brings an abandoned job to its end: goes on, or takes it back, as [`decide_recovery`] says.
    /// `plan` is built anew from the recorded kind and parameters, `ctx` is a fresh context.
    ///
    /// # Errors
    /// [`EngineError::Log`] with `LeaseLost` when the job's process lives, another process is
    /// faster, or the job has ended; [`EngineError::Plan`] when `plan` is not what was recorded;
    /// [`EngineError::Undecided`] when nobody can say now whether the job has committed.
    pub async fn recover<C: Send>(
        &self,
        plan: JobPlan<C>,
        ctx: &mut C,
        cancel: &CancellationToken,
        observer: Arc<dyn Observer>,
    ) -> Result<JobOutcome, EngineError> {
        let job = plan.id;
        let seen = self.log.load(job).await?.header;
        if seen.state.is_final() || !self.is_abandoned(&seen) {
            return Err(LogError::new(LogErrorKind::LeaseLost, job.to_string()).into());
        }
        plan.expect_recorded(&seen.job.sub_tasks)?;
        let active = self.activate(job);
        let lease = self.log.take_over(job, seen.epoch, self.owner()).await?;
        // Read after the lease was taken: the old owner can append nothing more.
        let story = self.log.load(job).await?;
        let view = story
            .view()
            .map_err(|source| EngineError::Story { job, source })?;
        let mut run = Run::new(self, &plan, lease, view, cancel, observer, active);
        let ends = async {
            run.take_up().await?;
            run.carry_on(ctx, story.header.cancel_requested).await
        };
        ends.instrument(job_span(&plan)).await?;
        Ok(run.outcome())
    }
}

impl Engine {
    /// Ends a job whose process will never be heard of again, alive or not, from elsewhere: nothing can be taken
    /// back here, so each sub-task that was begun ends with `cause` as what may be left. Whoever did it has lost its
    /// lease from then on. A job that has ended, or waits, is left as it is.
    ///
    /// # Errors
    /// [`EngineError::Log`] with `LeaseLost` when it goes on at this moment; else when the log fails.
    pub async fn give_up(&self, job: JobId, cause: Problem) -> Result<bool, EngineError> {
        let seen = self.log().load(job).await?.header;
        if seen.state.is_final() || seen.owner.is_none() {
            return Ok(false);
        }
        let plan = JobPlan::out_of_reach(&seen.job, &cause);
        let active = self.activate(job);
        let lease = self.log().take_over(job, seen.epoch, self.owner()).await?;
        let story = self.log().load(job).await?;
        let view = story
            .view()
            .map_err(|source| EngineError::Story { job, source })?;
        let (never, silent) = (CancellationToken::new(), Arc::new(Silent));
        let mut run = Run::new(self, &plan, lease, view, &never, silent, active);
        let ends = async {
            run.take_up().await?;
            if run.view.unwinding.is_some() {
                run.undo_all(&mut ()).await
            } else if run.view.is_committed() {
                run.give_up_rest(cause).await
            } else {
                run.unwind(&mut (), UnwindReason::Crash, cause).await
            }
        };
        ends.instrument(job_span(&plan)).await?;
        Ok(true)
    }
}

impl<C: Send> Run<'_, C> {
    async fn carry_on(&mut self, ctx: &mut C, cancel_requested: bool) -> Result<(), EngineError> {
        self.settle_interrupted(ctx).await?;
        let tasks = &self.plan.sub_tasks;
        let after_crash: Vec<_> = tasks.iter().map(|task| task.after_crash()).collect();
        let policy = self.plan.recovery;
        match decide_recovery(&self.view, policy, &after_crash, cancel_requested) {
            Recovery::ContinueUnwind => self.undo_all(ctx).await,
            Recovery::Unwind => {
                let (reason, cause) = self.why_unwind(cancel_requested);
                self.unwind(ctx, reason, cause).await
            }
            Recovery::Resume => match self.resume_done(ctx).await {
                Ok(()) => self.forward(ctx).await,
                Err(problem) if self.view.is_committed() => self.give_up_rest(problem).await,
                Err(problem) => self.unwind(ctx, UnwindReason::Crash, problem).await,
            },
        }
    }

    /// A commit that was cut short by the crash may have taken place. That must be known before
    /// anything is taken back, or the job would deny an effect that is there.
    async fn settle_interrupted(&mut self, ctx: &mut C) -> Result<(), EngineError> {
        let open = self.view.unwinding.is_none();
        let Some(index) = self
            .view
            .sub_tasks
            .iter()
            .position(|task| open && task.commits && task.state == SubTaskState::Started)
        else {
            return Ok(());
        };
        match self.settle(ctx, index).await {
            Ok(None) => Ok(()),
            Ok(Some(output)) => {
                let sub_task = index;
                self.record(JobEvent::Succeeded { sub_task, output }).await
            }
            Err(problem) => Err(EngineError::Undecided {
                job: self.plan.id,
                problem: Box::new(problem),
            }),
        }
    }

    /// Rebuilds in memory what the recorded sub-tasks had left there.
    async fn resume_done(&self, ctx: &mut C) -> Result<(), Problem> {
        for (task, seen) in self.plan.sub_tasks.iter().zip(&self.view.sub_tasks) {
            if let (SubTaskState::Succeeded, Some(output)) = (seen.state, &seen.output) {
                let limit = task.undo_limit();
                crate::supervise::limited(task.name(), limit, task.resume(ctx, output)).await?;
            }
        }
        Ok(())
    }

    /// The job has committed and its cleaning up cannot go on in this process: it ends with that
    /// as a warning on each sub-task that is left. Reconcilers find what it leaves.
    async fn give_up_rest(&mut self, problem: Problem) -> Result<(), EngineError> {
        while let Some(sub_task) = self.view.next_action() {
            self.record(JobEvent::Started { sub_task }).await?;
            let problem = problem.clone();
            self.record(JobEvent::Failed { sub_task, problem }).await?;
        }
        self.end().await
    }

    /// The first cause: what a sub-task had recorded before the crash, else the user's wish, else
    /// the crash.
    fn why_unwind(&self, cancel_requested: bool) -> (UnwindReason, Problem) {
        let job = self.plan.id.to_string();
        let failed = self
            .view
            .sub_tasks
            .iter()
            .find_map(|task| task.problem.clone());
        match failed {
            _ if cancel_requested => {
                let what = format!("Job {job}");
                (UnwindReason::Cancel, Kind::Interrupted { what }.into())
            }
            Some(problem) => (UnwindReason::Failure, problem),
            None => (UnwindReason::Crash, Kind::JobAbandoned { job }.into()),
        }
    }
}
