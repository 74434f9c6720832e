//! Jobs, events and VMs on their way: JSON in bodies.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tresor_jobs::{
    JobHeader, JobStory, NewJob, Owner, Progress, RecordedEvent, SubTaskSpec, Ticket, WaitingJob,
};
use tresor_model::{HostId, JobId, JobKind, JobState, MachineDefinition, StreamName, VmId};
use tresor_policy::Rules;
use tresor_problem::Problem;

use super::{EVENT, EVENTS, JOB, Malformed, SUB_TASKS, heads::short, malformed, read_strictly};

/// An event as it lies in the log.
pub type Event = RecordedEvent;

/// A job as it is recorded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the members are those of `NewJob`")]
pub struct Job {
    pub id: JobId,
    pub kind: JobKind,
    pub subject: String,
    pub lock: Option<String>,
    pub params: Value,
    pub sub_tasks: Vec<SubTaskSpec>,
    pub created_at: Timestamp,
}

impl Job {
    /// Reads what a host sends.
    ///
    /// # Errors
    /// When it is no job, or larger than one may be.
    pub fn decode(body: &[u8]) -> Result<Self, Malformed> {
        within(body, JOB, "a job")?;
        let job: Self = read_strictly(body)?;
        if job.sub_tasks.len() > SUB_TASKS {
            return Err(malformed(format!(
                "a job has more than {SUB_TASKS} sub-tasks"
            )));
        }
        let names = job.sub_tasks.iter().map(|task| &task.name);
        let texts = names.chain([&job.subject]).chain(&job.lock);
        texts.map(String::as_str).try_for_each(short)?;
        Ok(job)
    }
}

/// Reads an event that a host sends.
///
/// # Errors
/// When it is none, or larger than one may be.
pub fn decode_event(body: &[u8]) -> Result<Event, Malformed> {
    within(body, EVENT, "an event")?;
    let event: Event = read_strictly(body)?;
    match event.seq {
        0..EVENTS => Ok(event),
        _ => Err(malformed(format!("a job has at most {EVENTS} events"))),
    }
}

fn within(body: &[u8], limit: usize, what: &str) -> Result<(), Malformed> {
    if body.len() > limit {
        return Err(malformed(format!("{what} is larger than {limit} bytes")));
    }
    Ok(())
}

impl From<&NewJob> for Job {
    fn from(job: &NewJob) -> Self {
        let job = job.clone();
        Self {
            id: job.id,
            kind: job.kind,
            subject: job.subject,
            lock: job.lock,
            params: job.params,
            sub_tasks: job.sub_tasks,
            created_at: job.created_at,
        }
    }
}

impl From<Job> for NewJob {
    fn from(job: Job) -> Self {
        Self {
            id: job.id,
            kind: job.kind,
            subject: job.subject,
            lock: job.lock,
            params: job.params,
            sub_tasks: job.sub_tasks,
            created_at: job.created_at,
        }
    }
}

/// A job without its events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the members are those of `JobHeader`")]
pub struct Header {
    pub job: Job,
    pub state: JobState,
    pub owner: Option<Owner>,
    pub epoch: u64,
    pub heartbeat_at: Timestamp,
    pub cancel_requested: bool,
    pub progress: Option<Progress>,
    pub lane: Option<String>,
}

impl From<JobHeader> for Header {
    fn from(header: JobHeader) -> Self {
        Self {
            job: (&header.job).into(),
            state: header.state,
            owner: header.owner,
            epoch: header.epoch,
            heartbeat_at: header.heartbeat_at,
            cancel_requested: header.cancel_requested,
            progress: header.progress,
            lane: header.lane,
        }
    }
}

impl From<Header> for JobHeader {
    fn from(header: Header) -> Self {
        Self {
            job: header.job.into(),
            state: header.state,
            owner: header.owner,
            epoch: header.epoch,
            heartbeat_at: header.heartbeat_at,
            cancel_requested: header.cancel_requested,
            progress: header.progress,
            lane: header.lane,
        }
    }
}

/// A job with all that happened to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Story {
    /// The job.
    pub header: Header,
    /// Its events, in order.
    pub events: Vec<Event>,
}

impl From<JobStory> for Story {
    fn from(story: JobStory) -> Self {
        Self {
            header: story.header.into(),
            events: story.events,
        }
    }
}

impl From<Story> for JobStory {
    fn from(story: Story) -> Self {
        Self {
            header: story.header.into(),
            events: story.events,
        }
    }
}

/// A job that waits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Waiting {
    /// The job.
    pub job: Job,
    /// Its lane.
    pub lane: String,
    /// Nobody takes it up earlier, by the service's clock.
    pub not_before: Timestamp,
    /// Lower ones first.
    pub rank: i64,
    /// Whether somebody asked for its end.
    pub cancel_requested: bool,
}

impl From<WaitingJob> for Waiting {
    fn from(waiting: WaitingJob) -> Self {
        Self {
            job: (&waiting.job).into(),
            lane: waiting.ticket.lane,
            not_before: waiting.ticket.not_before,
            rank: waiting.ticket.rank,
            cancel_requested: waiting.cancel_requested,
        }
    }
}

impl From<Waiting> for WaitingJob {
    fn from(waiting: Waiting) -> Self {
        Self {
            job: waiting.job.into(),
            ticket: Ticket {
                lane: waiting.lane,
                not_before: waiting.not_before,
                rank: waiting.rank,
            },
            cancel_requested: waiting.cancel_requested,
        }
    }
}

/// A VM as the service knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the members are those of `VmRecord`")]
pub struct Vm {
    pub name: String,
    pub id: VmId,
    pub qmp_socket: PathBuf,
    pub agent_socket: Option<PathBuf>,
    pub excluded_disks: Vec<StreamName>,
    pub included_disks: Vec<StreamName>,
    pub machine: Option<MachineDefinition>,
    pub host: Option<HostId>,
    pub vault: String,
    pub retention: Option<Rules>,
    pub created_at: Timestamp,
}

/// A VM that was found on a host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the members are those of `Datasource`")]
pub struct Found {
    pub vm: VmId,
    pub name: String,
    pub qmp_socket: PathBuf,
    pub agent_socket: Option<PathBuf>,
    pub machine: Option<MachineDefinition>,
    pub state: String,
    pub problem: Option<Problem>,
}
