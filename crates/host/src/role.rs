//! The host role at work: jobs that wait for this host are taken up, and those that dead processes
//! left are ended.
//!
//! # Invariants
//! - Every job of the lane ends: it runs, it is refused with its cause, or it waits for a VM that
//!   somebody else works on.
//! - A job that was begun is never taken for one that waits, and one of a process that lives is never
//!   touched.
//!
//! # After a crash
//! The next role of this lane finds the dead process's jobs and unwinds them, before it begins others of the
//! same VM.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;
use tresor_jobs::{Engine, JobQueue, Ticket, WaitingJob};
use tresor_model::{JobId, JobKind};
use tresor_problem::Problem;

use crate::{backup, registry::Registry, state::StateDir};

/// How long a job whose VM is busy waits before it is looked at again.
const BUSY_PAUSE: SignedDuration = SignedDuration::from_secs(15);

/// How the role works.
#[derive(Debug, Clone)]
pub struct RoleOptions {
    /// The queue's lane that is this host's.
    pub lane: String,
    /// Most jobs that run at once, whatever the scheduler says.
    pub at_once: usize,
    /// How often the queue is looked at.
    pub poll: Duration,
}

impl RoleOptions {
    /// The usual ones.
    #[must_use]
    pub fn new(lane: &str) -> Self {
        Self {
            lane: lane.to_owned(),
            at_once: 8,
            poll: Duration::from_secs(1),
        }
    }
}

/// When the role is to stop.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// Nothing new is begun; what runs goes on to its end.
    pub drain: CancellationToken,
    /// What runs is taken back.
    pub cancel: CancellationToken,
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

    /// Works until it is told to stop and nothing runs any more.
    pub async fn run(self: Arc<Self>, stop: &Stop) {
        let mut running = Running::default();
        loop {
            tokio::select! {
                () = tokio::time::sleep(self.options.poll) => {}
                () = stop.drain.cancelled() => break,
                () = stop.cancel.cancelled() => break,
                () = running.one_ends() => {}
            }
            self.end_abandoned(&mut running).await;
            self.begin_due(&mut running, stop).await;
        }
        running.all_end().await;
    }

    async fn begin_due(self: &Arc<Self>, running: &mut Running, stop: &Stop) {
        let free = self.options.at_once.saturating_sub(running.len());
        if free == 0 {
            return;
        }
        let limit = u32::try_from(self.options.at_once).unwrap_or(u32::MAX);
        let due = self.queue.due(&self.options.lane, Timestamp::now(), limit);
        let due = match due.await {
            Ok(due) => due,
            Err(error) => {
                tracing::warn!(%error, "the queue cannot be read");
                return;
            }
        };
        let new = due.into_iter().filter(|job| !running.has(job.job.id));
        let new: Vec<_> = new.take(free).collect();
        for waiting in new {
            let role = Arc::clone(self);
            let cancel = stop.cancel.clone();
            running.add(waiting.job.id, async move {
                role.one(waiting, &cancel).await;
            });
        }
    }

    /// One job from the queue to its end.
    async fn one(&self, waiting: WaitingJob, cancel: &CancellationToken) {
        let job = waiting.job.id;
        let begun = match waiting.job.kind {
            JobKind::Backup => backup::run(self, &waiting.job, cancel).await,
            kind => Err(crate::internal(format!(
                "This host does not know how to do {kind:?} jobs."
            ))),
        };
        match begun {
            Ok(Begun::Over) => {}
            Ok(Begun::Busy) => self.later(&waiting).await,
            Err(problem) => self.refuse(job, problem).await,
        }
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
        let abandoned = match self.engine.abandoned().await {
            Ok(abandoned) => abandoned,
            Err(error) => {
                tracing::warn!(%error, "the job log cannot be read");
                return;
            }
        };
        for header in abandoned {
            let ours = header.lane.as_deref() == Some(self.options.lane.as_str());
            let job = header.job.id;
            if !ours || header.job.kind != JobKind::Backup || running.has(job) || running.rests(job)
            {
                continue;
            }
            let role = Arc::clone(self);
            running.add(job, async move {
                if let Err(problem) = backup::end(&role, &header.job).await {
                    tracing::warn!(%job, %problem, "a dead process's job could not be ended yet");
                }
            });
        }
    }
}

/// The jobs that this role works on now.
#[derive(Default)]
struct Running {
    tasks: JoinSet<()>,
    by_task: HashMap<Id, JobId>,
    jobs: HashSet<JobId>,
    /// What was tried lately, so that it is not tried each second.
    rested: HashMap<JobId, Timestamp>,
}

impl Running {
    fn len(&self) -> usize {
        self.jobs.len()
    }

    fn has(&self, job: JobId) -> bool {
        self.jobs.contains(&job)
    }

    /// Whether it was worked on within the last pause.
    fn rests(&self, job: JobId) -> bool {
        let now = Timestamp::now();
        let ended = self.rested.get(&job);
        ended.is_some_and(|ended| now.duration_since(*ended) < BUSY_PAUSE)
    }

    fn add(&mut self, job: JobId, work: impl Future<Output = ()> + Send + 'static) {
        let task = self.tasks.spawn(work);
        self.by_task.insert(task.id(), job);
        self.jobs.insert(job);
    }

    /// Waits until one ends; for ever when there is none.
    async fn one_ends(&mut self) {
        match self.tasks.join_next_with_id().await {
            None => std::future::pending().await,
            Some(Ok((task, ()))) => self.forget(task),
            Some(Err(error)) => {
                tracing::error!(%error, "a job's task panicked");
                self.forget(error.id());
            }
        }
    }

    fn forget(&mut self, task: Id) {
        let now = Timestamp::now();
        self.rested
            .retain(|_, ended| now.duration_since(*ended) < BUSY_PAUSE);
        if let Some(job) = self.by_task.remove(&task) {
            self.jobs.remove(&job);
            self.rested.insert(job, now);
        }
    }

    async fn all_end(&mut self) {
        while !self.tasks.is_empty() {
            self.one_ends().await;
        }
    }
}
