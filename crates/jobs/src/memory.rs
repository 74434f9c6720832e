//! A job log in memory, for tests and for jobs that need no story.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use jiff::Timestamp;
use tresor_model::{JobId, JobState};

use crate::{
    JobFilter, JobHeader, JobLog, JobStory, Lease, LogError, LogErrorKind, NewJob, Owner, Progress,
    RecordedEvent,
};

/// Keeps jobs for as long as it lives. Job ids sort by age, and so does the map.
#[derive(Debug, Default)]
pub struct MemoryJobLog {
    jobs: Mutex<BTreeMap<JobId, JobStory>>,
}

impl MemoryJobLog {
    fn jobs(&self) -> MutexGuard<'_, BTreeMap<JobId, JobStory>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(
        &self,
        job: JobId,
        change: impl FnOnce(&mut JobStory) -> Result<T, LogError>,
    ) -> Result<T, LogError> {
        match self.jobs().get_mut(&job) {
            Some(story) => change(story),
            None => Err(LogError::new(LogErrorKind::NotFound, job.to_string())),
        }
    }

    fn with_lease<T>(
        &self,
        lease: &Lease,
        change: impl FnOnce(&mut JobStory) -> Result<T, LogError>,
    ) -> Result<T, LogError> {
        self.with(lease.job, |story| {
            if story.header.epoch != lease.epoch || story.header.state.is_final() {
                return Err(lease_lost(lease.job));
            }
            change(story)
        })
    }
}

fn lease_lost(job: JobId) -> LogError {
    LogError::new(LogErrorKind::LeaseLost, job.to_string())
}

#[async_trait]
impl JobLog for MemoryJobLog {
    async fn begin(&self, job: &NewJob, owner: &Owner) -> Result<Lease, LogError> {
        let mut jobs = self.jobs();
        let holder = jobs.values().map(|story| &story.header).find(|other| {
            job.lock.is_some() && other.job.lock == job.lock && !other.state.is_final()
        });
        if let Some(header) = holder {
            let holder = header.job.id;
            return Err(LogError::new(
                LogErrorKind::Busy { holder },
                job.subject.clone(),
            ));
        }
        let header = JobHeader {
            job: job.clone(),
            state: JobState::Queued,
            owner: owner.clone(),
            epoch: 1,
            heartbeat_at: job.created_at,
            cancel_requested: false,
            progress: None,
        };
        let events = Vec::new();
        jobs.insert(job.id, JobStory { header, events });
        Ok(Lease {
            job: job.id,
            epoch: 1,
        })
    }

    async fn append(
        &self,
        lease: &Lease,
        event: &RecordedEvent,
        state: JobState,
    ) -> Result<(), LogError> {
        self.with_lease(lease, |story| {
            if event.seq != story.events.len() as u64 {
                return Err(lease_lost(lease.job));
            }
            story.events.push(event.clone());
            story.header.state = state;
            Ok(())
        })
    }

    async fn load(&self, job: JobId) -> Result<JobStory, LogError> {
        self.with(job, |story| Ok(story.clone()))
    }

    async fn list(&self, filter: &JobFilter) -> Result<Vec<JobHeader>, LogError> {
        let limit = filter.limit.map_or(usize::MAX, |limit| limit as usize);
        let subject = filter.subject.as_ref();
        Ok(self
            .jobs()
            .values()
            .rev()
            .map(|story| &story.header)
            .filter(|header| subject.is_none_or(|subject| *subject == header.job.subject))
            .filter(|header| !filter.unfinished || !header.state.is_final())
            .take(limit)
            .cloned()
            .collect())
    }

    async fn take_over(&self, job: JobId, epoch: u64, owner: &Owner) -> Result<Lease, LogError> {
        self.with(job, |story| {
            let header = &mut story.header;
            if header.epoch != epoch || header.state.is_final() {
                return Err(lease_lost(job));
            }
            header.epoch += 1;
            header.owner = owner.clone();
            header.heartbeat_at = Timestamp::now();
            let epoch = header.epoch;
            Ok(Lease { job, epoch })
        })
    }

    async fn request_cancel(&self, job: JobId) -> Result<(), LogError> {
        self.with(job, |story| {
            story.header.cancel_requested |= !story.header.state.is_final();
            Ok(())
        })
    }

    async fn cancel_requested(&self, job: JobId) -> Result<bool, LogError> {
        self.with(job, |story| Ok(story.header.cancel_requested))
    }

    async fn heartbeat(&self, lease: &Lease, at: Timestamp) -> Result<(), LogError> {
        self.with_lease(lease, |story| {
            story.header.heartbeat_at = at;
            Ok(())
        })
    }

    async fn set_progress(&self, lease: &Lease, progress: &Progress) -> Result<(), LogError> {
        self.with_lease(lease, |story| {
            story.header.progress = Some(progress.clone());
            Ok(())
        })
    }
}
