//! The job log and the queue, at the service.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use tresor_jobs::{
    JobFilter, JobHeader, JobLog, JobQueue, JobStory, Lease, LogError, LogErrorKind, NewJob, Owner,
    Progress, RecordedEvent, Ticket, WaitingJob,
};
use tresor_model::{JobId, JobState};

use super::once::{Answered, Asked, Parts, Trouble};
use super::{Caller, Connections, Options, PLACE};
use crate::wire;

/// Most bytes of a story that are taken, its job included.
const STORY: usize = 16 << 20;
/// Most bytes of a page that are taken: one entry more than fits.
const PAGE: usize = 4 << 20;

/// The log and the queue of the host's own lane.
#[derive(Debug, Clone)]
pub struct RemoteLog {
    caller: Caller,
}

impl RemoteLog {
    /// A log that is reached over whatever connection there is.
    #[must_use]
    pub const fn new(connections: Connections, options: Options) -> Self {
        let caller = Caller::new(connections, options);
        Self { caller }
    }

    async fn ask(&self, asked: Asked) -> Result<Parts, LogError> {
        let reached = self.caller.call(&asked).await.map_err(unusable)?;
        said(reached.answered)
    }

    /// A call whose answer is only that it is done.
    async fn tell(&self, asked: Asked) -> Result<(), LogError> {
        let wire::Nothing {} = self.ask(asked).await?.head().map_err(unusable)?;
        Ok(())
    }

    async fn tell_briefly(&self, asked: Asked) -> Result<(), LogError> {
        let answered = self.caller.call_briefly(&asked).await.map_err(unusable)?;
        let wire::Nothing {} = said(answered)?.head().map_err(unusable)?;
        Ok(())
    }

    /// A call that gives a lease. When an answer was lost the next try finds the lease gone: to us, or to
    /// somebody else. The service says which.
    async fn lease(&self, job: JobId, asked: Asked) -> Result<Lease, LogError> {
        let reached = self.caller.call(&asked).await.map_err(unusable)?;
        let epoch = match reached.answered {
            Ok(parts) => parts.head::<wire::LeaseAnswer>().map_err(unusable)?.epoch,
            Err(failure) => match wire::mark_of(&failure) {
                Some(mark) if reached.again => mark.yours,
                _ => return Err(wire::log_error_of(&failure)),
            },
        };
        Ok(Lease { job, epoch })
    }

    async fn page<T: DeserializeOwned>(&self, asked: Asked) -> Result<(Vec<T>, bool), LogError> {
        let parts = self.ask(asked.taking(PAGE)).await?;
        let more = parts.head::<wire::More>().map_err(unusable)?.more;
        Ok((parts.body().map_err(unusable)?, more))
    }
}

fn unusable(trouble: Trouble) -> LogError {
    LogError::new(LogErrorKind::Unusable, PLACE).caused_by(trouble)
}

fn said(answered: Answered) -> Result<Parts, LogError> {
    answered.map_err(|failure| wire::log_error_of(&failure))
}

fn asked<H: Serialize>(method: &'static str, head: &H) -> Result<Asked, LogError> {
    Asked::new(method, head).map_err(unusable)
}

/// How long from now, by this host's clock. The service counts from its own: only the difference is
/// sent.
fn wait_ms(not_before: Timestamp) -> u64 {
    let wait = not_before.duration_since(Timestamp::now());
    let wait = Duration::try_from(wait).unwrap_or_default();
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
}

#[async_trait]
impl JobLog for RemoteLog {
    async fn begin(&self, job: &NewJob, owner: &Owner) -> Result<Lease, LogError> {
        let owner = owner.clone();
        let begin = asked("jobs.begin", &wire::Begin { owner })?;
        let begin = begin.with(&wire::Job::from(job)).map_err(unusable)?;
        self.lease(job.id, begin).await
    }

    async fn append(
        &self,
        lease: &Lease,
        event: &RecordedEvent,
        state: JobState,
    ) -> Result<(), LogError> {
        let (job, epoch) = (lease.job, lease.epoch);
        let append = asked("jobs.append", &wire::Append { job, epoch, state })?;
        self.tell(append.with(event).map_err(unusable)?).await
    }

    async fn load(&self, job: JobId) -> Result<JobStory, LogError> {
        let load = asked("jobs.load", &wire::Load { job })?.taking(STORY);
        let story: wire::Story = self.ask(load).await?.body().map_err(unusable)?;
        Ok(story.into())
    }

    async fn list(&self, filter: &JobFilter) -> Result<Vec<JobHeader>, LogError> {
        let mut head = wire::List {
            subject: filter.subject.clone(),
            kind: filter.kind,
            state: filter.state,
            lane: filter.lane.clone(),
            unfinished: filter.unfinished,
            before: filter.before,
            limit: filter.limit.unwrap_or(u32::MAX),
        };
        let mut listed: Vec<JobHeader> = Vec::new();
        loop {
            let page = self.page::<wire::Header>(asked("jobs.list", &head)?).await;
            let (page, more) = page?;
            let Some(last) = page.last().map(|header| header.job.id) else {
                return Ok(listed);
            };
            head.before = Some(last);
            head.limit = head
                .limit
                .saturating_sub(page.len().try_into().unwrap_or(u32::MAX));
            listed.extend(page.into_iter().map(JobHeader::from));
            if !more || head.limit == 0 {
                return Ok(listed);
            }
        }
    }

    async fn take_over(&self, job: JobId, epoch: u64, owner: &Owner) -> Result<Lease, LogError> {
        let owner = owner.clone();
        let take = asked("jobs.take-over", &wire::TakeOver { job, epoch, owner })?;
        self.lease(job, take).await
    }

    async fn request_cancel(&self, job: JobId) -> Result<(), LogError> {
        self.tell(asked("jobs.cancel", &wire::Cancel { job })?)
            .await
    }

    async fn cancel_requested(&self, job: JobId) -> Result<bool, LogError> {
        let asked = asked("jobs.cancel-requested", &wire::CancelRequested { job })?;
        let answer: wire::CancelAnswer = self.ask(asked).await?.head().map_err(unusable)?;
        Ok(answer.requested)
    }

    /// `at` stays here: the service notes the time of its own clock, by which it judges.
    async fn heartbeat(&self, lease: &Lease, _at: Timestamp) -> Result<(), LogError> {
        let (job, epoch) = (lease.job, lease.epoch);
        self.tell_briefly(asked("jobs.heartbeat", &wire::Heartbeat { job, epoch })?)
            .await
    }

    async fn set_progress(&self, lease: &Lease, progress: &Progress) -> Result<(), LogError> {
        let mut progress = progress.clone();
        let end = progress.message.floor_char_boundary(wire::TEXT);
        progress.message.truncate(end);
        let head = wire::SetProgress {
            job: lease.job,
            epoch: lease.epoch,
            progress,
        };
        self.tell_briefly(asked("jobs.progress", &head)?).await
    }
}

#[async_trait]
impl JobQueue for RemoteLog {
    async fn enqueue(&self, job: &NewJob, ticket: &Ticket) -> Result<(), LogError> {
        let head = wire::Enqueue {
            lane: ticket.lane.clone(),
            wait_ms: wait_ms(ticket.not_before),
            rank: ticket.rank,
        };
        let enqueue = asked("jobs.enqueue", &head)?;
        let enqueue = enqueue.with(&wire::Job::from(job)).map_err(unusable)?;
        self.tell(enqueue).await
    }

    /// `now` stays here: the service's clock says what is due.
    async fn due(
        &self,
        lane: &str,
        _now: Timestamp,
        limit: u32,
    ) -> Result<Vec<WaitingJob>, LogError> {
        let lane = lane.to_owned();
        let due = asked("jobs.due", &wire::Due { lane, limit })?;
        let (page, _) = self.page::<wire::Waiting>(due).await?;
        Ok(page.into_iter().map(WaitingJob::from).collect())
    }

    async fn claim(&self, job: JobId, owner: &Owner) -> Result<Lease, LogError> {
        let owner = owner.clone();
        let claim = asked("jobs.claim", &wire::Claim { job, owner })?;
        self.lease(job, claim).await
    }

    async fn requeue(&self, job: JobId, ticket: &Ticket) -> Result<(), LogError> {
        let head = wire::Requeue {
            job,
            lane: ticket.lane.clone(),
            wait_ms: wait_ms(ticket.not_before),
            rank: ticket.rank,
        };
        self.tell(asked("jobs.requeue", &head)?).await
    }
}
