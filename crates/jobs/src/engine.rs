//! Runs jobs.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;
use tresor_model::{JobId, JobState, SubTaskState};
use tresor_problem::{Kind, Problem};

use crate::{
    EngineError, JobEvent, JobFilter, JobHeader, JobLog, JobPlan, JobView, Lease, Liveness,
    LogError, Moment, Observer, Owner, RecordedEvent, UnwindReason, hold,
    owner::Proc,
    trace::{self, job_span},
    watch::Watch,
};

/// Times of the engine.
#[derive(Debug, Clone)]
pub struct Tuning {
    /// How often the log is asked for a cancel request, and progress is written to it.
    pub poll: Duration,
    /// How often a sign of life is given.
    pub heartbeat: Duration,
    /// How long an action may take to end once it was told to.
    pub grace: Duration,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            poll: Duration::from_secs(1),
            heartbeat: Duration::from_secs(10),
            grace: Duration::from_secs(10),
        }
    }
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq)]
pub struct JobOutcome {
    /// The job.
    pub job: JobId,
    /// All that happened.
    pub view: JobView,
}

impl JobOutcome {
    /// The final state.
    #[must_use]
    pub fn state(&self) -> JobState {
        self.view.state
    }

    /// The first cause, when the job was taken back.
    #[must_use]
    pub fn cause(&self) -> Option<&Problem> {
        self.view.cause.as_ref()
    }
}

/// Runs jobs and takes over those of dead processes. One per process.
pub struct Engine {
    pub(crate) log: Arc<dyn JobLog>,
    owner: Owner,
    pub(crate) tuning: Tuning,
    /// Jobs that this engine works on now: what it owns beyond these was left behind by a call
    /// that was dropped.
    active: Arc<Mutex<HashSet<JobId>>>,
}

impl Engine {
    /// An engine of this process.
    #[must_use]
    pub fn new(log: Arc<dyn JobLog>) -> Self {
        Self::with(log, Owner::current(), Tuning::default())
    }

    /// An engine with other times, or (in tests) of another process.
    #[must_use]
    pub fn with(log: Arc<dyn JobLog>, owner: Owner, tuning: Tuning) -> Self {
        Self {
            log,
            owner,
            tuning,
            active: Arc::default(),
        }
    }

    /// The log.
    #[must_use]
    pub fn log(&self) -> &Arc<dyn JobLog> {
        &self.log
    }

    /// Records the job, runs its sub-tasks, and unwinds it when one fails or `cancel` is
    /// cancelled. A job that fails is an outcome, not an error.
    ///
    /// Dropping the future leaves the job recorded as unfinished, for [`Engine::recover`].
    ///
    /// # Errors
    /// [`EngineError::Log`] with `Busy` when another job holds the lock key (it may be a dead
    /// process's: see [`Engine::abandoned`]); else when the log fails.
    pub async fn run<C: Send>(
        &self,
        plan: JobPlan<C>,
        ctx: &mut C,
        cancel: &CancellationToken,
        observer: Arc<dyn Observer>,
    ) -> Result<JobOutcome, EngineError> {
        if let Some(reason) = plan.defect() {
            return Err(EngineError::Plan {
                job: plan.id,
                reason,
            });
        }
        let job = plan.new_job(Timestamp::now());
        let active = self.activate(plan.id);
        let lease = self.log.begin(&job, &self.owner).await?;
        let view = JobView::new(&job.sub_tasks);
        let mut run = Run::new(self, &plan, lease, view, cancel, observer, active);
        run.begin(ctx).instrument(job_span(&plan)).await?;
        Ok(run.outcome())
    }

    /// Unfinished jobs whose process is gone. One of a live process is never among them.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn abandoned(&self) -> Result<Vec<JobHeader>, LogError> {
        self.abandoned_of(None).await
    }

    /// Those of one lane. What a lane's jobs have begun is with its host: nobody else can take it back, so
    /// whoever works for a lane asks for its own.
    ///
    /// # Errors
    /// As [`Self::abandoned`].
    pub async fn abandoned_in(&self, lane: &str) -> Result<Vec<JobHeader>, LogError> {
        self.abandoned_of(Some(lane.to_owned())).await
    }

    async fn abandoned_of(&self, lane: Option<String>) -> Result<Vec<JobHeader>, LogError> {
        let filter = JobFilter {
            unfinished: true,
            lane,
            ..JobFilter::default()
        };
        let mut jobs = self.log.list(&filter).await?;
        jobs.retain(|header| self.is_abandoned(header));
        Ok(jobs)
    }

    pub(crate) fn is_abandoned(&self, header: &JobHeader) -> bool {
        let Some(owner) = &header.owner else {
            return false; // it waits
        };
        if *owner == self.owner {
            let active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
            return !active.contains(&header.job.id);
        }
        let beat = header.heartbeat_at;
        let now = Timestamp::now();
        owner.liveness(&self.owner, &Proc, beat, now) == Liveness::Dead
    }

    pub(crate) fn owner(&self) -> &Owner {
        &self.owner
    }

    pub(crate) fn activate(&self, job: JobId) -> Active {
        let mut active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        active.insert(job);
        Active {
            job,
            active: Arc::clone(&self.active),
        }
    }
}

/// Marks a job as worked on, for as long as it lives.
pub(crate) struct Active {
    job: JobId,
    active: Arc<Mutex<HashSet<JobId>>>,
}

impl Drop for Active {
    fn drop(&mut self) {
        let mut active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        active.remove(&self.job);
    }
}

/// One job in the hands of this process.
pub(crate) struct Run<'a, C> {
    pub(crate) engine: &'a Engine,
    pub(crate) plan: &'a JobPlan<C>,
    pub(crate) view: JobView,
    pub(crate) watch: Watch,
    pub(crate) observer: Arc<dyn Observer>,
    lease: Lease,
    _active: Active,
}

impl<'a, C: Send> Run<'a, C> {
    pub(crate) fn new(
        engine: &'a Engine,
        plan: &'a JobPlan<C>,
        lease: Lease,
        view: JobView,
        cancel: &CancellationToken,
        observer: Arc<dyn Observer>,
        active: Active,
    ) -> Self {
        let watch = Watch::start(
            Arc::clone(&engine.log),
            lease.clone(),
            cancel,
            engine.tuning.poll,
            engine.tuning.heartbeat,
        );
        Self {
            engine,
            plan,
            view,
            watch,
            observer,
            lease,
            _active: active,
        }
    }

    pub(crate) fn outcome(self) -> JobOutcome {
        JobOutcome {
            job: self.plan.id,
            view: self.view,
        }
    }

    /// Checks an event against the story, records it, then takes it in.
    pub(crate) async fn record(&mut self, event: JobEvent) -> Result<(), EngineError> {
        let recorded = RecordedEvent {
            seq: self.view.next_seq,
            at: Timestamp::now(),
            event,
        };
        let mut next = self.view.clone();
        next.apply(&recorded).map_err(|source| EngineError::Story {
            job: self.plan.id,
            source,
        })?;
        let log = &self.engine.log;
        log.append(&self.lease, &recorded, next.state).await?;
        self.view = next;
        trace::log(&recorded.event, &self.view);
        self.observer
            .on_event(self.plan.id, &self.view, &recorded.event);
        Ok(())
    }

    /// From the first event to the last.
    pub(crate) async fn begin(&mut self, ctx: &mut C) -> Result<(), EngineError> {
        self.take_up().await?;
        self.forward(ctx).await
    }

    pub(crate) async fn take_up(&mut self) -> Result<(), EngineError> {
        let owner = self.engine.owner().clone();
        self.record(JobEvent::TakenUp { owner }).await
    }

    /// Runs what has not been run, to the end of the job. When the log fails, takes back what it
    /// can without the log.
    pub(crate) async fn forward(&mut self, ctx: &mut C) -> Result<(), EngineError> {
        let ended = self.forward_recorded(ctx).await;
        if let Err(error) = &ended {
            self.abandon(ctx, error).await;
        }
        ended
    }

    async fn forward_recorded(&mut self, ctx: &mut C) -> Result<(), EngineError> {
        while let Some(index) = self.view.next_action() {
            let committed = self.view.is_committed();
            if !committed && self.watch.cancel.is_cancelled() {
                let cause = self.interrupted();
                return self.unwind(ctx, UnwindReason::Cancel, cause).await;
            }
            self.record(JobEvent::Started { sub_task: index }).await?;
            hold::at(index, Moment::Recorded).await;
            let Err(problem) = self.carry_out(ctx, index).await? else {
                continue;
            };
            self.record(JobEvent::Failed {
                sub_task: index,
                problem: problem.clone(),
            })
            .await?;
            if committed {
                continue;
            }
            return if self.watch.cancel.is_cancelled() {
                let cause = self.interrupted();
                self.unwind(ctx, UnwindReason::Cancel, cause).await
            } else {
                self.unwind(ctx, UnwindReason::Failure, problem).await
            };
        }
        self.end().await
    }

    /// Runs a started sub-task and records its success; the problem when it failed.
    async fn carry_out(
        &mut self,
        ctx: &mut C,
        index: usize,
    ) -> Result<Result<(), Problem>, EngineError> {
        let task = &self.plan.sub_tasks[index];
        let mut result = self.supervise(ctx, index).await?;
        hold::at(index, Moment::Done).await;
        if result.is_err() && task.commits() {
            // Cut short is not the same as not done. Where the answer cannot be had, the undo
            // must decide: it is safe in both cases.
            match self.settle(ctx, index).await {
                Ok(Some(output)) => result = Ok(output),
                Ok(None) => {}
                Err(problem) => self.warn(index, problem).await?,
            }
        }
        match result {
            Ok(output) => {
                let sub_task = index;
                self.record(JobEvent::Succeeded { sub_task, output })
                    .await?;
                hold::at(index, Moment::Succeeded).await;
                Ok(Ok(()))
            }
            Err(problem) => Ok(Err(problem)),
        }
    }

    pub(crate) async fn warn(&mut self, index: usize, problem: Problem) -> Result<(), EngineError> {
        self.record(JobEvent::Warned {
            sub_task: Some(index),
            warning: problem.into(),
        })
        .await
    }

    pub(crate) async fn end(&mut self) -> Result<(), EngineError> {
        let state = self.view.verdict();
        self.record(JobEvent::Ended { state }).await
    }

    fn interrupted(&self) -> Problem {
        let running = self
            .view
            .sub_tasks
            .iter()
            .rfind(|task| task.state != SubTaskState::Pending);
        let what = match running {
            Some(task) => format!("Job {}, at \"{}\",", self.plan.id, task.name),
            None => format!("Job {}", self.plan.id),
        };
        Kind::Interrupted { what }.into()
    }
}
