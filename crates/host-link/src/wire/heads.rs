//! The heads of requests and answers: JSON.

use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use tresor_jobs::{Owner, Progress};
use tresor_link_proto::{Failure, failures};
use tresor_model::{JobId, JobKind, JobState, VaultId, VmId};

use super::{CAPABILITIES, Malformed, TEXT, malformed, read_strictly};

macro_rules! heads {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)*
        }
    )*};
}

heads! {
    /// `jobs.begin`: the job follows as the body.
    Begin {
        /// The process that begins it.
        owner: Owner,
    }
    /// `jobs.enqueue`: the job follows as the body.
    Enqueue {
        /// Where it waits: the host's own lane.
        lane: String,
        /// Milliseconds before which nobody takes it up.
        wait_ms: u64,
        /// Lower ones first.
        rank: i64,
    }
    /// `jobs.due`: the jobs that may be taken up now, by the service's clock.
    Due {
        /// Of which lane.
        lane: String,
        /// At most so many.
        limit: u32,
    }
    /// `jobs.claim`: takes up a job that waits.
    Claim {
        /// The job.
        job: JobId,
        /// For whom.
        owner: Owner,
    }
    /// `jobs.requeue`: moves a job that waits.
    Requeue {
        /// The job.
        job: JobId,
        /// Where it is to wait: the host's own lane.
        lane: String,
        /// Milliseconds before which nobody takes it up.
        wait_ms: u64,
        /// Lower ones first.
        rank: i64,
    }
    /// `jobs.append`: the event follows as the body.
    Append {
        /// The job.
        job: JobId,
        /// The lease's number.
        epoch: u64,
        /// The job's state with the event.
        state: JobState,
    }
    /// `jobs.load`: a job and its story.
    Load {
        /// The job.
        job: JobId,
    }
    /// `jobs.list`: jobs of the host's lane, newest first.
    List {
        /// Only those about this subject.
        subject: Option<String>,
        /// Only those that do this.
        kind: Option<JobKind>,
        /// Only those that are there.
        state: Option<JobState>,
        /// Only those of this lane: there are none in another one than the host's.
        lane: Option<String>,
        /// Only those that have not ended.
        unfinished: bool,
        /// Only those made before this one.
        before: Option<JobId>,
        /// At most so many.
        limit: u32,
    }
    /// `jobs.take-over`: takes over the job of a dead process.
    TakeOver {
        /// The job.
        job: JobId,
        /// The number of the dead process's lease.
        epoch: u64,
        /// For whom.
        owner: Owner,
    }
    /// `jobs.cancel`: asks for the end of a job.
    Cancel {
        /// The job.
        job: JobId,
    }
    /// `jobs.cancel-requested`: whether somebody did.
    CancelRequested {
        /// The job.
        job: JobId,
    }
    /// `jobs.heartbeat`: a sign of life, now by the service's clock.
    Heartbeat {
        /// The job.
        job: JobId,
        /// The lease's number.
        epoch: u64,
    }
    /// `jobs.progress`: how far a job is.
    SetProgress {
        /// The job.
        job: JobId,
        /// The lease's number.
        epoch: u64,
        /// How far.
        progress: Progress,
    }
    /// `host.alive`: a sign of life of the host.
    Alive {
        /// Its version of Tresor.
        version: String,
        /// What it can do: JSON of its own shape.
        capabilities: Value,
    }
    /// `host.vm`: a VM of the host.
    VmOf {
        /// The VM.
        vm: VmId,
    }
    /// `host.note-machine`: the machine follows as the body.
    NoteMachine {
        /// The VM's name.
        vm: String,
    }
    /// `host.note-point`: the recovery point follows as the body.
    NotePoint {
        /// The vault that has it.
        vault: VaultId,
    }
    /// `host.known`: the VMs that were found on the host before, or are registered there.
    Known {
        /// Only those behind this one.
        after: Option<VmId>,
    }
    /// `host.report`: all VMs that are on the host now, as the body.
    Report {
        /// How many.
        entries: u32,
    }
    /// The answer to `jobs.begin`, `jobs.claim` and `jobs.take-over`.
    LeaseAnswer {
        /// The lease's number.
        epoch: u64,
    }
    /// The answer to `jobs.due`, `jobs.list` and `host.known`, before the entries.
    More {
        /// Whether there are more behind the last one.
        more: bool,
    }
    /// The answer to `jobs.cancel-requested`.
    CancelAnswer {
        /// Whether somebody asked for the job's end.
        requested: bool,
    }
    /// The answer to `host.alive`.
    AliveAnswer {
        /// The service's version of Tresor.
        version: String,
        /// The service's clock.
        now: Timestamp,
    }
    /// The answer to all others: it is done, or follows as the body.
    Nothing {}
}

/// A request of a host.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "each is its head")]
pub enum Request {
    Begin(Begin),
    Enqueue(Enqueue),
    Due(Due),
    Claim(Claim),
    Requeue(Requeue),
    Append(Append),
    Load(Load),
    List(List),
    TakeOver(TakeOver),
    Cancel(Cancel),
    CancelRequested(CancelRequested),
    Heartbeat(Heartbeat),
    SetProgress(SetProgress),
    Alive(Alive),
    Vm(VmOf),
    NoteMachine(NoteMachine),
    NotePoint(NotePoint),
    Known(Known),
    Report(Report),
}

impl Request {
    /// Reads a head, which the link has bounded.
    ///
    /// # Errors
    /// What to refuse the request with.
    pub fn decode(method: &str, head: &[u8]) -> Result<Self, Failure> {
        let request = match method {
            "jobs.begin" => Self::Begin(json(head)?),
            "jobs.enqueue" => Self::Enqueue(json(head)?),
            "jobs.due" => Self::Due(json(head)?),
            "jobs.claim" => Self::Claim(json(head)?),
            "jobs.requeue" => Self::Requeue(json(head)?),
            "jobs.append" => Self::Append(json(head)?),
            "jobs.load" => Self::Load(json(head)?),
            "jobs.list" => Self::List(json(head)?),
            "jobs.take-over" => Self::TakeOver(json(head)?),
            "jobs.cancel" => Self::Cancel(json(head)?),
            "jobs.cancel-requested" => Self::CancelRequested(json(head)?),
            "jobs.heartbeat" => Self::Heartbeat(json(head)?),
            "jobs.progress" => Self::SetProgress(json(head)?),
            "host.alive" => Self::Alive(json(head)?),
            "host.vm" => Self::Vm(json(head)?),
            "host.note-machine" => Self::NoteMachine(json(head)?),
            "host.note-point" => Self::NotePoint(json(head)?),
            "host.known" => Self::Known(json(head)?),
            "host.report" => Self::Report(json(head)?),
            _ => {
                let text = format!("there is no method {method:?}");
                return Err(Failure::new(failures::METHOD_UNKNOWN, text));
            }
        };
        request.bounded().map_err(|error| head_malformed(&error))?;
        Ok(request)
    }

    fn bounded(&self) -> Result<(), Malformed> {
        match self {
            Self::Begin(head) => owner(&head.owner),
            Self::Claim(head) => owner(&head.owner),
            Self::TakeOver(head) => owner(&head.owner),
            Self::Enqueue(head) => short(&head.lane),
            Self::Requeue(head) => short(&head.lane),
            Self::Due(head) => short(&head.lane),
            Self::List(head) => {
                let texts = [&head.subject, &head.lane].into_iter().flatten();
                texts.map(String::as_str).try_for_each(short)
            }
            Self::SetProgress(head) => short(&head.progress.message),
            Self::NoteMachine(head) => short(&head.vm),
            Self::Alive(head) if head.capabilities.to_string().len() > CAPABILITIES => {
                Err(malformed("the capabilities are too long"))
            }
            Self::Alive(head) => short(&head.version),
            _ => Ok(()),
        }
    }

    /// The job that is meant, where there is one.
    #[must_use]
    pub fn job(&self) -> Option<JobId> {
        match self {
            Self::Claim(head) => Some(head.job),
            Self::Requeue(head) => Some(head.job),
            Self::Append(head) => Some(head.job),
            Self::Load(head) => Some(head.job),
            Self::TakeOver(head) => Some(head.job),
            Self::Cancel(head) => Some(head.job),
            Self::CancelRequested(head) => Some(head.job),
            Self::Heartbeat(head) => Some(head.job),
            Self::SetProgress(head) => Some(head.job),
            _ => None,
        }
    }
}

fn owner(owner: &Owner) -> Result<(), Malformed> {
    let texts = [&owner.machine, &owner.boot, &owner.pid_namespace];
    texts.into_iter().try_for_each(|text| short(text))
}

pub(super) fn short(text: &str) -> Result<(), Malformed> {
    match text.len() {
        0..=TEXT => Ok(()),
        _ => Err(malformed(format!("a text is longer than {TEXT} bytes"))),
    }
}

fn json<T: DeserializeOwned + Serialize>(head: &[u8]) -> Result<T, Failure> {
    read_strictly(head).map_err(|error| head_malformed(&error))
}

fn head_malformed(error: &Malformed) -> Failure {
    Failure::new(failures::HEAD_MALFORMED, error.to_string())
}
