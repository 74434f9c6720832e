//! The guard: a process of its own that owns a freeze (invariant I1).
//!
//! The QEMU guest agent never thaws by itself, so whoever freezes must not die. The guard does
//! nothing else: it freezes, waits for the word to thaw, and thaws on that word, when its parent
//! dies (its standard input closes), when the hold limit passes, or when it is told to end. It
//! goes on thawing until the guest says that it is thawed, for a day, or until the VM has ended.
//!
//! The guard itself may be killed. Its parent watches it, thaws in its place at once, and leaves a
//! new guard behind where that does not succeed either. When both die, [`recover`] is left.
//!
//! [`recover`]: crate::Quiescer::recover
//!
//! Parent and guard speak over pipes: docs/protocol/thaw-guard.md.

mod decide;
mod log;
mod parent;
mod process;
mod protocol;
mod watch;

pub(crate) use parent::Guard;
pub use parent::GuardCommand;
pub use process::run;
