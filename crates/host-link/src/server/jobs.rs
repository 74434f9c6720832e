//! What each method of jobs does, up to its answer.

use jiff::{SignedDuration, Timestamp};
use tresor_channel::BodyReader;
use tresor_jobs::{
    JobFilter, JobLog as _, JobQueue as _, JobStory, Lease, LogError, LogErrorKind, NewJob, Owner,
    Ticket,
};
use tresor_model::JobId;
use tresor_workflows::backup::BackupOrder;

use super::answer::Answer;
use super::{Inner, Stop};
use crate::rules::{self, Claimed, Whose, Why};
use crate::wire::{self, Mark, Request};

/// The number of the lease that a claim gives.
const FIRST: u64 = 1;

impl Inner {
    pub(super) async fn call(&self, asked: Request, body: BodyReader) -> Result<Answer<'_>, Stop> {
        match asked {
            Request::Begin(head) => self.begin(head, body).await,
            Request::Enqueue(head) => self.enqueue(head, body).await,
            Request::Due(head) => self.due(&head).await,
            Request::Claim(head) => self.claim(&head).await,
            Request::Requeue(head) => self.requeue(&head).await,
            Request::Append(head) => self.append(&head, body).await,
            Request::Load(head) => self.load(head.job).await,
            Request::List(head) => self.list(head).await,
            Request::TakeOver(head) => self.take_over(&head).await,
            Request::Cancel(head) => {
                self.own(head.job).await?;
                self.catalog.request_cancel(head.job).await?;
                Answer::done()
            }
            Request::CancelRequested(head) => {
                self.own(head.job).await?;
                let requested = self.catalog.cancel_requested(head.job).await?;
                Answer::head(&wire::CancelAnswer { requested })
            }
            Request::Heartbeat(wire::Heartbeat { job, epoch }) => {
                self.own(job).await?;
                let lease = Lease { job, epoch };
                self.catalog.heartbeat(&lease, Timestamp::now()).await?;
                Answer::done()
            }
            Request::SetProgress(head) => {
                self.own(head.job).await?;
                let (job, epoch) = (head.job, head.epoch);
                let lease = Lease { job, epoch };
                self.catalog.set_progress(&lease, &head.progress).await?;
                Answer::done()
            }
            Request::Alive(head) => self.alive(&head).await,
            Request::Vm(head) => self.vm(head.vm).await,
            Request::NoteMachine(head) => self.note_machine(&head.vm, body).await,
            Request::NotePoint(head) => self.note_point(head.vault, body).await,
            Request::Known(head) => self.known(head.after).await,
            Request::Report(head) => self.report(&head, body).await,
        }
    }

    /// That the job is in the host's lane. Another's is not there, as far as the host can tell.
    async fn own(&self, job: JobId) -> Result<(), Stop> {
        if self.catalog.lane_of(job).await?.as_deref() == Some(self.lane.as_str()) {
            return Ok(());
        }
        Err(LogError::new(LogErrorKind::NotFound, job.to_string()).into())
    }

    fn own_lane(&self, lane: &str) -> Result<(), Stop> {
        if lane == self.lane {
            return Ok(());
        }
        Err(Stop::refused(Why::Lane, &lane))
    }

    /// A job that the host records itself.
    async fn receive_job(&self, body: BodyReader) -> Result<NewJob, Stop> {
        let (body, _room) = self.receive(body, wire::JOB).await?;
        let job = NewJob::from(wire::Job::decode(&body)?);
        let lock = match job.lock.as_deref().map(rules::vm_of_lock) {
            None => None,
            Some(None) => Some(Whose::Nobodys),
            Some(Some(vm)) => Some(self.whose(self.catalog.vm_by_id(vm).await)?),
        };
        let ordered = match BackupOrder::of_params(&job.params) {
            Ok(order) => Some(self.whose(self.catalog.vm_by_id(order.vm).await)?),
            // Nobody takes it for a backup of anything.
            Err(_) => None,
        };
        let claimed = Claimed {
            kind: job.kind,
            lock,
            ordered,
            subject: self.whose_name(&job.subject).await?,
            made_at: rules::made_at(job.id, job.created_at),
        };
        let judged = claimed.judge(Timestamp::now());
        judged.map_err(|why| Stop::refused(why, &job.id))?;
        if self.catalog.unfinished_in(&self.lane).await? >= wire::UNFINISHED.into() {
            return Err(Stop::refused(Why::TooMany, &job.id));
        }
        Ok(job)
    }

    async fn begin(&self, head: wire::Begin, body: BodyReader) -> Result<Answer<'_>, Stop> {
        let job = self.receive_job(body).await?;
        let begun = self.catalog.begin_in(&self.lane, &job, &head.owner);
        Answer::lease(begun.await?.epoch)
    }

    async fn enqueue(&self, head: wire::Enqueue, body: BodyReader) -> Result<Answer<'_>, Stop> {
        self.own_lane(&head.lane)?;
        let job = self.receive_job(body).await?;
        let ticket = self.ticket(head.wait_ms, head.rank);
        self.catalog.enqueue(&job, &ticket).await?;
        Answer::done()
    }

    /// A place in the host's lane, by the service's clock.
    fn ticket(&self, wait_ms: u64, rank: i64) -> Ticket {
        let wait = SignedDuration::from_millis(i64::try_from(wait_ms).unwrap_or(i64::MAX));
        Ticket {
            lane: self.lane.clone(),
            not_before: Timestamp::now()
                .saturating_add(wait)
                .unwrap_or(Timestamp::MAX),
            rank,
        }
    }

    async fn due(&self, head: &wire::Due) -> Result<Answer<'_>, Stop> {
        self.own_lane(&head.lane)?;
        let room = self.room(wire::PAGE).await?;
        let limit = head.limit.min(wire::ENTRIES);
        let due = self
            .catalog
            .due(&self.lane, Timestamp::now(), limit)
            .await?;
        let page = wire::page_of(due.into_iter().map(wire::Waiting::from))?;
        Answer::page(page, room)
    }

    async fn claim(&self, head: &wire::Claim) -> Result<Answer<'_>, Stop> {
        self.own(head.job).await?;
        match self.catalog.claim(head.job, &head.owner).await {
            Ok(lease) => Answer::lease(lease.epoch),
            Err(error) => Err(self.lost(head.job, &head.owner, FIRST, error).await),
        }
    }

    async fn take_over(&self, head: &wire::TakeOver) -> Result<Answer<'_>, Stop> {
        self.own(head.job).await?;
        let next = head.epoch.saturating_add(1);
        match self
            .catalog
            .take_over(head.job, head.epoch, &head.owner)
            .await
        {
            Ok(lease) => Answer::lease(lease.epoch),
            Err(error) => Err(self.lost(head.job, &head.owner, next, error).await),
        }
    }

    /// A lease that was not given, and whether that is since the owner has it already: it asked before, and
    /// cannot have used it without the answer.
    async fn lost(&self, job: JobId, owner: &Owner, epoch: u64, error: LogError) -> Stop {
        let has = |JobStory { header, events }: &JobStory| {
            let same = header.owner.as_ref() == Some(owner) && header.epoch == epoch;
            // The first lease's holder records first that it has taken the job up.
            let unused = epoch > FIRST || events.is_empty();
            same && unused && !header.state.is_final()
        };
        let mark = match (&error.kind, self.catalog.load(job).await) {
            (LogErrorKind::LeaseLost, Ok(story)) if has(&story) => Some(Mark { yours: epoch }),
            _ => None,
        };
        Stop::Log(error, mark)
    }

    async fn requeue(&self, head: &wire::Requeue) -> Result<Answer<'_>, Stop> {
        self.own_lane(&head.lane)?;
        self.own(head.job).await?;
        let ticket = self.ticket(head.wait_ms, head.rank);
        self.catalog.requeue(head.job, &ticket).await?;
        Answer::done()
    }

    async fn append(&self, head: &wire::Append, body: BodyReader) -> Result<Answer<'_>, Stop> {
        let (body, _room) = self.receive(body, wire::EVENT).await?;
        let event = wire::decode_event(&body)?;
        self.own(head.job).await?;
        let there = self.catalog.story_size(head.job).await?;
        if there.saturating_add(body.len() as u64) > wire::STORY {
            return Err(Stop::refused(Why::TooMany, &head.job));
        }
        let (job, epoch) = (head.job, head.epoch);
        let lease = Lease { job, epoch };
        self.catalog.append(&lease, &event, head.state).await?;
        Answer::done()
    }

    async fn load(&self, job: JobId) -> Result<Answer<'_>, Stop> {
        self.own(job).await?;
        let size = self.catalog.story_size(job).await?;
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let room = self.room(size.saturating_add(wire::JOB)).await?;
        let story = self.catalog.load(job).await?;
        Answer::document(&wire::Story::from(story), room)
    }

    async fn list(&self, head: wire::List) -> Result<Answer<'_>, Stop> {
        let room = self.room(wire::PAGE).await?;
        if head.lane.is_some_and(|lane| lane != self.lane) {
            return Answer::page(wire::page_of(Vec::<wire::Header>::new())?, room);
        }
        // One more than is shown says whether there are more.
        let limit = head.limit.min(wire::ENTRIES + 1);
        let filter = JobFilter {
            subject: head.subject,
            kind: head.kind,
            state: head.state,
            lane: Some(self.lane.clone()),
            unfinished: head.unfinished,
            before: head.before,
            limit: Some(limit),
        };
        let listed = self.catalog.list(&filter).await?;
        let page = wire::page_of(listed.into_iter().map(wire::Header::from))?;
        Answer::page(page, room)
    }
}
