//! What a host and the service say to each other about jobs and VMs: docs/protocol/host.md. No I/O.
//!
//! # Versions
//! A head, a job or an event with a member that the service does not know is refused: what it leaves
//! out could change what is meant ([`read_strictly`]). So requests grow by new methods. In answers, and
//! in what hosts tell of machines and points, unknown members are passed over.

mod documents;
mod failure;
mod heads;
mod page;
mod strict;

pub use documents::{Event, Found, Header, Job, Story, Vm, Waiting, decode_event};
pub use failure::{
    Mark, failure_of_log, failure_of_problem, log_error_of, mark_of, problem_of, refused,
};
pub use heads::{
    Alive, AliveAnswer, Append, Begin, Cancel, CancelAnswer, CancelRequested, Claim, Due, Enqueue,
    Heartbeat, Known, LeaseAnswer, List, Load, More, NoteMachine, NotePoint, Nothing, Report,
    Request, Requeue, SetProgress, TakeOver, VmOf,
};
pub use page::{Page, page_of};
pub use strict::{read, read_strictly};

/// Where a host's job log and registry are, in texts.
pub(crate) const PLACE: &str = "the service";

/// What the names of the methods of jobs begin with.
pub const JOBS: &str = "jobs.";
/// What the names of the other methods begin with.
pub const HOST: &str = "host.";

/// Most bytes of a text in a head: an owner's machine, a lane, a subject, a version.
pub const TEXT: usize = 256;
/// Most bytes of a job as it is recorded: parameters and sub-tasks are the most of it.
pub const JOB: usize = 256 << 10;
/// Most sub-tasks of a job.
pub const SUB_TASKS: usize = 64;
/// Most bytes of an event.
pub const EVENT: usize = 256 << 10;
/// Most events of a job.
pub const EVENTS: u64 = 4096;
/// Most bytes of all events of a job.
pub const STORY: u64 = 8 << 20;
/// Most jobs of a host that have not ended.
pub const UNFINISHED: u32 = 1024;
/// Most bytes of a machine, or of a recovery point.
pub const MACHINE: usize = 1 << 20;
/// Most bytes of a report.
pub const REPORT: usize = 8 << 20;
/// Most VMs in a report.
pub const FOUND: usize = 4096;
/// Most bytes of what a host says that it can do.
pub const CAPABILITIES: usize = 16 << 10;
/// A page of a list goes out when it has so many bytes; one entry may be behind that.
pub const PAGE: usize = 1 << 20;
/// Most entries of a page.
pub const ENTRIES: u32 = 256;

/// Bytes that the other end may not send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed(pub(crate) String);

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Malformed {}

pub(crate) fn malformed(text: impl Into<String>) -> Malformed {
    Malformed(text.into())
}
