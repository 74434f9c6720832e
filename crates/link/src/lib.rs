//! The port to whatever can quiesce a guest, and its adapters (the QEMU guest agent first).
//!
//! # Invariants
//! - A freeze that was sent is always followed by thaws until the guest says `thawed`, by the
//!   guard that owns the freeze, by this process when the guard dies, or by the job's undo (I1).
//! - A guest's answer is bounded in size and time before it is decoded (I8).
//! - A freeze counts as application-consistent only on evidence that the guest left (I4).
//!
//! # After a crash
//! The guard is a process of its own, in a session of its own. When `tresor` dies its pipe closes,
//! and the guard thaws. When both die, [`Quiescer::recover`] thaws what still says that it is
//! frozen.

pub mod guard;
mod port;
pub mod qga;
mod sys;

pub use guard::GuardCommand;
pub use port::{AgentInfo, Freeze, FreezeRequest, QuiesceError, QuiesceErrorKind, Quiescer, Thaw};
pub use qga::QemuGuestAgent;
