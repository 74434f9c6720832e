//! Takes up jobs that wait.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;
use tresor_model::JobId;
use tresor_problem::Problem;

use crate::{
    Engine, EngineError, JobOutcome, JobPlan, JobQueue, JobView, Observer, Silent, UnwindReason,
    engine::Run, trace::job_span,
};

impl Engine {
    /// Claims a job that waits and runs it, as [`Self::run`] does. `plan` is built from what was
    /// recorded. One whose end was asked for meanwhile is cancelled before its first sub-task.
    ///
    /// # Errors
    /// [`EngineError::Log`] with `Busy` when another job holds the lock key: it goes on waiting; with
    /// `LeaseLost` when somebody else was faster. [`EngineError::Plan`] when `plan` is not what was
    /// recorded. Else as for [`Self::run`].
    pub async fn take_up<C: Send>(
        &self,
        queue: &dyn JobQueue,
        plan: JobPlan<C>,
        ctx: &mut C,
        cancel: &CancellationToken,
        observer: Arc<dyn Observer>,
    ) -> Result<JobOutcome, EngineError> {
        let job = plan.id;
        let seen = self.log().load(job).await?.header;
        plan.expect_recorded(&seen.job.sub_tasks)?;
        let active = self.activate(job);
        let lease = queue.claim(job, self.owner()).await?;
        let cancel = cancel.child_token();
        if self.log().cancel_requested(job).await? {
            cancel.cancel();
        }
        let view = JobView::new(&seen.job.sub_tasks);
        let mut run = Run::new(self, &plan, lease, view, &cancel, observer, active);
        run.begin(ctx).instrument(job_span(&plan)).await?;
        Ok(run.outcome())
    }

    /// Ends a job that waits and cannot be begun, since what it needs is not there: it fails with
    /// `cause`, none of its sub-tasks having been started. One whose end was asked for is cancelled.
    ///
    /// # Errors
    /// As for [`Self::take_up`].
    pub async fn refuse(
        &self,
        queue: &dyn JobQueue,
        job: JobId,
        cause: Problem,
    ) -> Result<JobOutcome, EngineError> {
        let recorded = self.log().load(job).await?.header.job;
        let plan = JobPlan::<()>::without_actions(&recorded);
        let active = self.activate(job);
        let lease = queue.claim(job, self.owner()).await?;
        let reason = match self.log().cancel_requested(job).await? {
            true => UnwindReason::Cancel,
            false => UnwindReason::Failure,
        };
        let view = JobView::new(&recorded.sub_tasks);
        let (cancel, silent) = (CancellationToken::new(), Arc::new(Silent));
        let mut run = Run::new(self, &plan, lease, view, &cancel, silent, active);
        let ends = async {
            run.take_up().await?;
            run.unwind(&mut (), reason, cause).await
        };
        ends.instrument(job_span(&plan)).await?;
        Ok(run.outcome())
    }
}
