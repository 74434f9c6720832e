//! A client for QMP, the control protocol of QEMU and `qemu-storage-daemon`.
//!
//! # What
//! [`Client::connect`] opens a unix socket, reads the greeting and negotiates capabilities (none
//! are asked for). Commands are typed ([`Command`], grouped by subject in [`commands`]); for the
//! rest there is [`Client::execute`]. Events arrive on [`Client::events`].
//!
//! # Invariants
//! - Replies are matched by id; a reply nobody waits for any more is dropped.
//! - Nothing is decoded before its size is known: a line longer than [`MAX_LINE_BYTES`] ends the
//!   connection (the peer may be a compromised QEMU).
//! - Unknown events and unknown members are accepted.
//!
//! # Ordering
//! QEMU runs the commands of one connection one after another. [`Client::pipeline`] hands over
//! several in one write: they run back to back with no round trip between them, *also after one
//! of them failed*.
//!
//! # Cancellation
//! Dropping a future that waits for a reply never un-sends: what was handed over is written and
//! its reply awaited (and dropped), even when the last [`Client`] is gone. So a `stop … cont`
//! pipeline is not cut in two by a cancelled task.
//!
//! # One client per socket
//! QEMU serves one client per QMP socket; the next ones wait in the listen queue, unanswered.
//! That is told apart as [`ErrorKind::Busy`].

mod client;
pub mod commands;
mod connection;
mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod holder;
mod message;

pub use client::{Client, ConnectOptions, Events, Peer};
pub use commands::Command;
pub use error::{CommandError, Error, ErrorClass, ErrorKind};
pub use message::{Event, Greeting, MAX_LINE_BYTES, Message, Version};
