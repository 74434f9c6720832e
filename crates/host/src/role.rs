//! The host role at work: jobs that wait for this host are taken up, and those that dead processes
//! left are ended.
//!
//! # Invariants
//! - Every job of the lane ends: it runs, it is refused with its cause, or it waits for a VM that
//!   somebody else works on.
//! - A job of the shared lane that cannot be begun here waits for a host that can, for a while.
//! - A job that was begun is never taken for one that waits, and one of a process that lives is never
//!   touched.
//!
//! # After a crash
//! The next role of this lane finds the dead process's jobs and unwinds them, before it begins others of the
//! same VM.

use std::{path::PathBuf, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tresor_catalog::Catalog;
use tresor_jobs::{
    Engine, EngineError, JobPlan, JobQueue, LogError, LogErrorKind, Silent, Ticket, WaitingJob,
};
use tresor_model::{JobId, JobKind};
use tresor_problem::{Kind, Problem};

use crate::{
    Stop, backup, copy, database, keeping,
    registry::Registry,
    restore,
    restore_dirs::RestoreDirs,
    running::{BUSY_PAUSE, Running},
    state::StateDir,
    verify,
};

/// How the role works.
#[derive(Debug, Clone)]
pub struct RoleOptions {
    /// The queue's lane that is this host's.
    pub lane: String,
    /// A lane of jobs that any of several hosts may do.
    pub shared_lane: Option<String>,
    /// Most jobs that run at once, whatever the scheduler says.
    pub at_once: usize,
    /// How often the queue is looked at.
    pub poll: Duration,
    /// The directories below which jobs may restore; empty: `restored` in the state directory.
    pub restore_dirs: Vec<PathBuf>,
}

impl RoleOptions {
    /// The usual ones.
    #[must_use]
    pub fn new(lane: &str) -> Self {
        Self {
            lane: lane.to_owned(),
            shared_lane: None,
            at_once: 8,
            poll: Duration::from_secs(1),
            restore_dirs: Vec::new(),
        }
    }
}

/// A host's role.
pub struct HostRole {
    pub(crate) engine: Engine,
    pub(crate) queue: Arc<dyn JobQueue>,
    pub(crate) registry: Arc<dyn Registry>,
    pub(crate) state: StateDir,
    options: RoleOptions,
}

/// What became of an attempt to begin a job.
pub(crate) enum Begun {
    /// It has ended, or is somebody else's.
    Over,
    /// Its VM is worked on by somebody else: later.
    Busy,
}

impl HostRole {
    /// A role that has not begun.
    #[must_use]
    pub fn new(
        queue: Arc<dyn JobQueue>,
        registry: Arc<dyn Registry>,
        state: StateDir,
        options: RoleOptions,
    ) -> Self {
        Self {
            engine: Engine::new(queue.clone()),
            queue,
            registry,
            state,
            options,
        }
    }

    /// The catalog, for jobs that look after whole vaults.
    pub(crate) fn catalog(&self, kind: JobKind) -> Result<&Catalog, Problem> {
        let job = format!("{kind:?}").to_lowercase();
        let catalog = self.registry.catalog();
        catalog.ok_or_else(|| Kind::JobNotHere { job }.into())
    }

    pub(crate) fn restore_dirs(&self) -> RestoreDirs {
        RestoreDirs::new(&self.options.restore_dirs, self.state.restored())
    }

    /// Works until it is told to stop and nothing runs any more.
    pub async fn run(self: Arc<Self>, stop: &Stop) {
        let mut running = Running::new(stop.clone());
        loop {
            tokio::select! {
                () = tokio::time::sleep(self.options.poll) => {}
                () = stop.drain.cancelled() => break,
                () = stop.cancel.cancelled() => break,
                () = running.one_ends() => {}
            }
            let look = async {
                self.end_abandoned(&mut running).await;
                self.begin_due(&mut running, stop).await;
            };
            // A queue that is away keeps the end waiting no longer: what is left out is only looked for.
            tokio::select! {
                () = look => stop.turn(),
                () = stop.drain.cancelled() => break,
                () = stop.cancel.cancelled() => break,
            }
        }
        running.all_end().await;
    }

    async fn begin_due(self: &Arc<Self>, running: &mut Running, stop: &Stop) {
        let free = self.options.at_once.saturating_sub(running.len());
        if free == 0 {
            return;
        }
        let mut new = Vec::new();
        for lane in self.lanes() {
            match self.due(lane).await {
                Ok(due) => new.extend(due),
                Err(error) => {
                    tracing::warn!(%error, "the queue cannot be read");
                    return;
                }
            }
        }
        // What was left to others is not looked at again at once.
        new.retain(|waiting| {
            let job = waiting.job.id;
            let rests = self.is_shared(&waiting.ticket.lane) && running.rests(job);
            !running.has(job) && !rests
        });
        new.truncate(free);
        for waiting in new {
            let role = Arc::clone(self);
            let cancel = stop.cancel.clone();
            // Another host may reach the vault that this one does not.
            let job = waiting.job.id;
            let for_others = self.is_shared(&waiting.ticket.lane) && !running.tries(job);
            running.add(job, async move {
                role.one(waiting, for_others, &cancel).await;
            });
        }
    }

    async fn due(&self, lane: &str) -> Result<Vec<WaitingJob>, LogError> {
        let limit = u32::try_from(self.options.at_once).unwrap_or(u32::MAX);
        self.queue.due(lane, Timestamp::now(), limit).await
    }

    /// The lanes whose jobs are this role's, its own first.
    fn lanes(&self) -> impl Iterator<Item = &str> {
        let shared = self.options.shared_lane.as_deref();
        std::iter::once(self.options.lane.as_str()).chain(shared)
    }

    fn is_shared(&self, lane: &str) -> bool {
        self.options.shared_lane.as_deref() == Some(lane)
    }

    /// One job from the queue to its end. With `for_others`, one that cannot be begun here is left where it is.
    async fn one(&self, waiting: WaitingJob, for_others: bool, cancel: &CancellationToken) {
        let job = waiting.job.id;
        let begun = match waiting.job.kind {
            JobKind::Backup => backup::run(self, &waiting.job, cancel).await,
            JobKind::Expire => keeping::expire(self, &waiting.job, cancel).await,
            JobKind::Collect => keeping::collect(self, &waiting.job, cancel).await,
            JobKind::Catalog => database::run(self, &waiting.job, cancel).await,
            JobKind::Verify => verify::run(self, &waiting.job, cancel).await,
            JobKind::Copy => copy::run(self, &waiting.job, cancel).await,
            JobKind::Restore => restore::run(self, &waiting.job, cancel).await,
            // They are run by whoever asks for them, and never queued.
            kind @ (JobKind::Check | JobKind::Repair) => Err(Kind::JobNotHere {
                job: format!("{kind:?}").to_lowercase(),
            }
            .into()),
        };
        match begun {
            Ok(Begun::Over) => {}
            Ok(Begun::Busy) => self.later(&waiting).await,
            Err(problem) if for_others => {
                tracing::info!(%job, %problem, "the job is left to other hosts");
            }
            Err(problem) => self.refuse(job, problem).await,
        }
    }

    /// Takes a job up and carries it to its end.
    pub(crate) async fn take_up<C: Send>(
        &self,
        plan: JobPlan<C>,
        ctx: &mut C,
        cancel: &CancellationToken,
    ) -> Result<Begun, Problem> {
        let job = plan.id;
        let queue = &*self.queue;
        let done = self
            .engine
            .take_up(queue, plan, ctx, cancel, Arc::new(Silent));
        match done.await {
            Ok(_) => Ok(Begun::Over),
            Err(EngineError::Log(error)) => match error.kind {
                LogErrorKind::Busy { .. } => Ok(Begun::Busy),
                // Somebody else was faster, or the log is away: then the job is found by whoever looks
                // for abandoned ones.
                _ => {
                    tracing::warn!(%job, %error, "the job was left");
                    Ok(Begun::Over)
                }
            },
            Err(error) => Err(Problem::from(&error)),
        }
    }

    /// Brings a dead process's job to its end.
    pub(crate) async fn recover<C: Send>(
        &self,
        plan: JobPlan<C>,
        ctx: &mut C,
    ) -> Result<(), Problem> {
        let (job, never) = (plan.id, CancellationToken::new());
        let ended = self
            .engine
            .recover(plan, ctx, &never, Arc::new(Silent))
            .await;
        let ended = ended.map_err(|error| Problem::from(&error))?;
        tracing::info!(%job, state = ?ended.state(), "a dead process's job was ended");
        Ok(())
    }

    async fn later(&self, waiting: &WaitingJob) {
        let ticket = Ticket {
            not_before: Timestamp::now()
                .saturating_add(BUSY_PAUSE)
                .unwrap_or(Timestamp::MAX),
            ..waiting.ticket.clone()
        };
        if let Err(error) = self.queue.requeue(waiting.job.id, &ticket).await {
            tracing::debug!(job = %waiting.job.id, %error, "the job waits no more");
        }
    }

    async fn refuse(&self, job: JobId, problem: Problem) {
        tracing::warn!(%job, %problem, "the job cannot be begun");
        if let Err(error) = self.engine.refuse(&*self.queue, job, problem).await {
            tracing::warn!(%job, %error, "the job could not be ended");
        }
    }

    /// Ends what dead processes left in this lane.
    async fn end_abandoned(self: &Arc<Self>, running: &mut Running) {
        let mut abandoned = Vec::new();
        for lane in self.lanes() {
            match self.engine.abandoned_in(lane).await {
                Ok(found) => abandoned.extend(found),
                Err(error) => {
                    tracing::warn!(%error, "the job log cannot be read");
                    return;
                }
            }
        }
        for header in abandoned {
            let job = header.job.id;
            if running.has(job) || running.rests(job) {
                continue;
            }
            let role = Arc::clone(self);
            running.add(job, async move {
                let ended = match header.job.kind {
                    JobKind::Backup => backup::end(&role, &header.job).await,
                    JobKind::Catalog => database::end(&role, &header.job).await,
                    // What they have done stays, and the next one goes on from there.
                    JobKind::Restore
                    | JobKind::Verify
                    | JobKind::Copy
                    | JobKind::Repair
                    | JobKind::Check
                    | JobKind::Expire
                    | JobKind::Collect => {
                        let plan = JobPlan::nothing_to_take_back(&header.job);
                        role.recover(plan, &mut ()).await
                    }
                };
                if let Err(problem) = ended {
                    tracing::warn!(%job, %problem, "a dead process's job could not be ended yet");
                }
            });
        }
    }
}
