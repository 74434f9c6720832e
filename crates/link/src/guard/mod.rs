//! The guard: a process of its own that owns a freeze (invariant I1).
//!
//! The QEMU guest agent never thaws by itself, so whoever freezes must not die. The guard does
//! nothing else: it freezes, waits for the word to thaw, and thaws on that word, when its parent
//! dies (its standard input closes), when the hold limit passes, or when it is told to end. It
//! goes on thawing until the guest says that it is thawed, for a day.
//!
//! Parent and guard speak over pipes: docs/protocol/thaw-guard.md.

mod parent;
mod process;
mod protocol;

pub(crate) use parent::Guard;
pub use parent::GuardCommand;
pub use process::run;
