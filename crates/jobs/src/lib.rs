//! The job engine: a job is a table of sub-tasks, each with an action, an undo and a time limit.
//!
//! It knows nothing of backups, SQL or HTTP: what a job does is a [`JobPlan`], where its story is
//! kept is a [`JobLog`].
//!
//! # Invariants
//! - Log before effect: a sub-task's action runs only after [`JobEvent::Started`] is durable, an
//!   undo only after [`JobEvent::UndoStarted`]. What a dead process may have done is therefore
//!   always known from the log.
//! - The log is the truth: [`JobView`] is a pure fold over it, and an event that the fold refuses
//!   is never recorded.
//! - The first cause of a failure is kept. What goes wrong while unwinding is recorded beside it.
//! - One job per lock key (a VM) at a time; only the holder of the lease may append.
//!
//! # Ordering
//! Sub-tasks run one after the other; undo runs in reverse order over every sub-task that was
//! started, also the one that failed. Once a sub-task that [commits](SubTask::commits) has
//! succeeded the job is never unwound: what follows is carried out, and failures there are
//! warnings.
//!
//! # Cancellation
//! By the caller's token or by [`JobLog::request_cancel`] from any process. The running action
//! gets its token and a grace; then it is dropped at its next await point, and the job is unwound.
//! Undo is shielded from cancellation and has its own limit.
//!
//! # Waiting
//! A job can be recorded before anybody works on it ([`JobQueue`]). [`Engine::take_up`] claims and runs it;
//! [`Engine::refuse`] ends one that cannot be begun.
//!
//! # After a crash
//! The lease names its process ([`Owner`]). [`Engine::abandoned`] lists the jobs whose process is
//! gone; [`Engine::recover`] takes one over and either goes on or unwinds it.

mod decide;
mod engine;
mod error;
mod event;
mod hold;
mod kill_points;
mod log;
mod memory;
mod owner;
mod plan;
mod queue;
mod recover;
mod scope;
mod supervise;
mod take_up;
#[cfg(feature = "testing")]
pub mod testing;
mod trace;
mod unwind;
mod view;
mod watch;

pub use decide::{Recovery, RecoveryPolicy, decide_recovery};
pub use engine::{Engine, JobOutcome, Tuning};
pub use error::{EngineError, LogError, LogErrorKind};
pub use event::{JobEvent, RecordedEvent, Warning};
pub use kill_points::{KillPoint, Moment, kill_points};
pub use log::{JobFilter, JobHeader, JobLog, JobStory, Lease, NewJob, SubTaskSpec};
pub use memory::MemoryJobLog;
pub use owner::{Liveness, Owner, ProcessTable};
pub use plan::{AfterCrash, JobPlan, SubTask, specs};
pub use queue::{JobQueue, Ticket, WaitingJob};
pub use scope::{Observer, Progress, Scope, Silent};
pub use trace::{span_id, trace_id};
pub use tresor_model::UnwindReason;
pub use view::{IllegalTransition, JobView, RecordedWarning, SubTaskView, fold};
