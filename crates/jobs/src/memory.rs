//! A job log in memory, for tests and for jobs that need no story.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use jiff::Timestamp;
use tresor_model::{JobId, JobState};

use crate::{
    JobFilter, JobHeader, JobLog, JobQueue, JobStory, Lease, LogError, LogErrorKind, NewJob, Owner,
    Progress, RecordedEvent, Ticket, WaitingJob,
};

/// Keeps jobs for as long as it lives. Job ids sort by age, and so does the map.
#[derive(Debug, Default)]
pub struct MemoryJobLog {
    jobs: Mutex<BTreeMap<JobId, JobStory>>,
    waiting: Mutex<BTreeMap<JobId, Ticket>>,
}

impl MemoryJobLog {
    fn jobs(&self) -> MutexGuard<'_, BTreeMap<JobId, JobStory>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locked after the jobs, where both are.
    fn waiting(&self) -> MutexGuard<'_, BTreeMap<JobId, Ticket>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
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

fn taken(job: JobId) -> LogError {
    let reason = format!("there is a job {job} already");
    LogError::new(LogErrorKind::Unusable, "memory").caused_by(reason)
}

/// Whether nobody holds the key of a job.
fn is_free(jobs: &BTreeMap<JobId, JobStory>, job: &NewJob) -> Result<(), LogError> {
    let mut holders = jobs.values().map(|story| &story.header).filter(|other| {
        let same = job.lock.is_some() && other.job.lock == job.lock;
        same && other.owner.is_some() && !other.state.is_final()
    });
    let Some(holder) = holders.next() else {
        return Ok(());
    };
    let holder = holder.job.id;
    let kind = LogErrorKind::Busy { holder };
    Err(LogError::new(kind, job.subject.clone()))
}

fn story_of(job: &NewJob, owner: Option<&Owner>, lane: Option<&str>) -> JobStory {
    let header = JobHeader {
        job: job.clone(),
        state: JobState::Queued,
        owner: owner.cloned(),
        epoch: u64::from(owner.is_some()),
        heartbeat_at: job.created_at,
        cancel_requested: false,
        progress: None,
        lane: lane.map(str::to_owned),
    };
    let events = Vec::new();
    JobStory { header, events }
}

#[async_trait]
impl JobQueue for MemoryJobLog {
    async fn enqueue(&self, job: &NewJob, ticket: &Ticket) -> Result<(), LogError> {
        let mut jobs = self.jobs();
        if let Some(there) = jobs.get(&job.id) {
            let lane = there.header.lane.as_ref() == Some(&ticket.lane);
            return match lane && there.header.owner.is_none() && there.header.job == *job {
                true => Ok(()),
                false => Err(taken(job.id)),
            };
        }
        jobs.insert(job.id, story_of(job, None, Some(&ticket.lane)));
        self.waiting().insert(job.id, ticket.clone());
        Ok(())
    }

    async fn due(
        &self,
        lane: &str,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<WaitingJob>, LogError> {
        let jobs = self.jobs();
        let mut due: Vec<WaitingJob> = self
            .waiting()
            .iter()
            .filter(|(_, ticket)| ticket.lane == lane && ticket.not_before <= now)
            .filter_map(|(id, ticket)| {
                let header = &jobs.get(id)?.header;
                Some(WaitingJob {
                    job: header.job.clone(),
                    ticket: ticket.clone(),
                    cancel_requested: header.cancel_requested,
                })
            })
            .collect();
        due.sort_by_key(|waiting| (waiting.ticket.rank, waiting.job.created_at, waiting.job.id));
        due.truncate(limit as usize);
        Ok(due)
    }

    async fn claim(&self, job: JobId, owner: &Owner) -> Result<Lease, LogError> {
        let mut jobs = self.jobs();
        let Some(wanted) = jobs.get(&job).map(|story| story.header.job.clone()) else {
            return Err(LogError::new(LogErrorKind::NotFound, job.to_string()));
        };
        let mut waiting = self.waiting();
        if !waiting.contains_key(&job) {
            return Err(lease_lost(job));
        }
        is_free(&jobs, &wanted)?;
        waiting.remove(&job);
        if let Some(story) = jobs.get_mut(&job) {
            let header = &mut story.header;
            (header.owner, header.epoch) = (Some(owner.clone()), 1);
            header.heartbeat_at = Timestamp::now();
        }
        Ok(Lease { job, epoch: 1 })
    }

    async fn requeue(&self, job: JobId, ticket: &Ticket) -> Result<(), LogError> {
        self.with(job, |story| {
            match self.waiting().get_mut(&job) {
                Some(place) => *place = ticket.clone(),
                None => return Err(lease_lost(job)),
            }
            story.header.lane = Some(ticket.lane.clone());
            Ok(())
        })
    }
}

#[async_trait]
impl JobLog for MemoryJobLog {
    async fn begin(&self, job: &NewJob, owner: &Owner) -> Result<Lease, LogError> {
        let mut jobs = self.jobs();
        let lease = Lease {
            job: job.id,
            epoch: 1,
        };
        if let Some(JobStory { header, .. }) = jobs.get(&job.id) {
            let again = header.owner.as_ref() == Some(owner)
                && header.epoch == lease.epoch
                && !header.state.is_final()
                && header.job == *job;
            return match again {
                true => Ok(lease),
                false => Err(taken(job.id)),
            };
        }
        is_free(&jobs, job)?;
        jobs.insert(job.id, story_of(job, Some(owner), None));
        Ok(lease)
    }

    async fn append(
        &self,
        lease: &Lease,
        event: &RecordedEvent,
        state: JobState,
    ) -> Result<(), LogError> {
        let again = self.with(lease.job, |JobStory { header, events }| {
            let same = header.epoch == lease.epoch && header.state == state;
            Ok(same && events.last() == Some(event))
        })?;
        if again {
            return Ok(());
        }
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
        Ok(self
            .jobs()
            .values()
            .rev()
            .map(|story| &story.header)
            .filter(|header| filter.passes(header))
            .take(limit)
            .cloned()
            .collect())
    }

    async fn take_over(&self, job: JobId, epoch: u64, owner: &Owner) -> Result<Lease, LogError> {
        self.with(job, |story| {
            let header = &mut story.header;
            if header.epoch != epoch || header.owner.is_none() || header.state.is_final() {
                return Err(lease_lost(job));
            }
            header.epoch += 1;
            header.owner = Some(owner.clone());
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
