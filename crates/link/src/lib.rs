//! The port to whatever can quiesce a guest, and its adapters (the QEMU guest agent first).
//!
//! # Invariants
//! - A freeze that was sent is always followed by thaws until the guest says `thawed`, by this
//!   process or by the guard that outlives it (I1).
//! - A guest's answer is bounded in size and time before it is decoded (I8).

mod port;

pub use port::{AgentInfo, Freeze, FreezeRequest, QuiesceError, QuiesceErrorKind, Quiescer, Thaw};
