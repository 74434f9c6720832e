//! The jobs that a role works on at a time.

use std::collections::{HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};
use tokio::task::{Id, JoinSet};
use tresor_model::JobId;

use crate::Stop;

/// How long a job whose VM is busy waits before it is looked at again.
pub(crate) const BUSY_PAUSE: SignedDuration = SignedDuration::from_secs(15);

/// For so long a job that any of several hosts may do, and that cannot be begun here, is left to the others.
pub(crate) const OTHERS_TIME: SignedDuration = SignedDuration::from_mins(10);
/// What is remembered of tries is forgotten then: by now the job has ended.
const FORGOTTEN: SignedDuration = SignedDuration::from_hours(1);

/// The jobs that this role works on now.
#[derive(Default)]
pub(crate) struct Running {
    /// Told how many they are.
    stop: Stop,
    tasks: JoinSet<()>,
    by_task: HashMap<Id, JobId>,
    jobs: HashSet<JobId>,
    /// What was tried lately, so that it is not tried each second.
    rested: HashMap<JobId, Timestamp>,
    /// When it was tried here for the first time.
    tried: HashMap<JobId, Timestamp>,
}

impl Running {
    pub(crate) fn new(stop: Stop) -> Self {
        Self {
            stop,
            ..Self::default()
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.jobs.len()
    }

    pub(crate) fn has(&self, job: JobId) -> bool {
        self.jobs.contains(&job)
    }

    /// Whether it was worked on within the last pause.
    pub(crate) fn rests(&self, job: JobId) -> bool {
        let now = Timestamp::now();
        let ended = self.rested.get(&job);
        ended.is_some_and(|ended| now.duration_since(*ended) < BUSY_PAUSE)
    }

    /// Notes a try. Whether others have had their time to begin the job since the first one.
    pub(crate) fn tries(&mut self, job: JobId) -> bool {
        let now = Timestamp::now();
        self.tried
            .retain(|_, first| now.duration_since(*first) < FORGOTTEN);
        let first = *self.tried.entry(job).or_insert(now);
        now.duration_since(first) >= OTHERS_TIME
    }

    pub(crate) fn add(&mut self, job: JobId, work: impl Future<Output = ()> + Send + 'static) {
        let task = self.tasks.spawn(work);
        self.by_task.insert(task.id(), job);
        self.jobs.insert(job);
        self.stop.runs(self.jobs.len());
    }

    /// Waits until one ends; for ever when there is none.
    pub(crate) async fn one_ends(&mut self) {
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
            self.stop.runs(self.jobs.len());
        }
    }

    pub(crate) async fn all_end(&mut self) {
        while !self.tasks.is_empty() {
            self.one_ends().await;
        }
    }
}
