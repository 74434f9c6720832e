//! Takes a job back: undo in reverse order, each one recorded, none skipped because of another.

use tresor_problem::Problem;

use crate::{EngineError, JobEvent, LogErrorKind, Moment, UnwindReason, engine::Run, hold};

impl<C: Send> Run<'_, C> {
    /// Begins to take the job back, and does it.
    pub(crate) async fn unwind(
        &mut self,
        ctx: &mut C,
        reason: UnwindReason,
        cause: Problem,
    ) -> Result<(), EngineError> {
        self.record(JobEvent::UnwindStarted { reason, cause })
            .await?;
        self.undo_all(ctx).await
    }

    /// Undoes what has not been undone, to the end of the job.
    pub(crate) async fn undo_all(&mut self, ctx: &mut C) -> Result<(), EngineError> {
        while let Some(sub_task) = self.view.next_undo() {
            self.record(JobEvent::UndoStarted { sub_task }).await?;
            hold::at(sub_task, Moment::UndoRecorded).await;
            let undone = self.undo(ctx, sub_task).await;
            hold::at(sub_task, Moment::Undone).await;
            let event = match undone {
                Ok(()) => JobEvent::Undone { sub_task },
                Err(problem) => {
                    tracing::warn!(job = %self.plan.id, %problem, "undo failed");
                    JobEvent::UndoFailed { sub_task, problem }
                }
            };
            self.record(event).await?;
        }
        self.end().await
    }

    /// The log has failed under the job. A guest must not stay frozen because a disk is full: what
    /// was begun is undone without records. The log still says which sub-tasks were started, so
    /// the next recovery undoes them again, which is safe.
    ///
    /// Not when the lease was lost: then another process is doing it.
    pub(crate) async fn abandon(&mut self, ctx: &mut C, error: &EngineError) {
        let lease_lost = self.watch.lease_lost()
            || matches!(error, EngineError::Log(log) if log.kind == LogErrorKind::LeaseLost);
        if lease_lost || self.view.is_committed() {
            return;
        }
        for sub_task in (0..self.view.sub_tasks.len()).rev() {
            if self.view.sub_tasks[sub_task].has_effects()
                && let Err(problem) = self.undo(ctx, sub_task).await
            {
                tracing::warn!(job = %self.plan.id, %problem, "undo without a log failed");
            }
        }
    }
}
