//! The link protocol on a stream: calls in both directions over one connection.
//!
//! [`Connection::open`] takes anything that reads and writes: a TLS stream, a unix socket, a virtio-serial
//! port. It encrypts and authenticates nothing; whoever opened the stream did that, and
//! knows who is at the other end. The bytes are `tresor-link-proto`'s and docs/protocol/link.md's.
//!
//! # Invariants
//! - Every call ends: with an answer, or with an error that says whether the other end can have seen
//!   it. When the connection ends, everything on it ends with its first cause.
//! - What is kept is bounded by the limits that this end gave, whatever the other end does.
//! - A body that is read to its end is the body that was written.
//! - No lock is held across an await; nothing waits for the other end but those who asked it something.
//!
//! # Cancellation
//! Every future may be dropped at any point. A call, an answer or a body that is dropped before its end
//! is cancelled at the other end: a handler's future is dropped there.
//!
//! # Time
//! Each end asks now and then whether the other one is there; one that is silent for too long is given
//! up ([`Timing`]). A handler that takes its time is not: whoever calls says how long to wait.
//!
//! # After a crash
//! Nothing outlives the process. A peer that starts again is seen by its greeting: the connection ends,
//! and the same stream may be opened anew.

mod body;
mod call;
mod connection;
mod driver;
mod error;
mod options;
mod serve;
mod shared;

pub use body::{BodyReader, BodyWriter};
pub use call::{Answer, Call, PendingAnswer};
pub use connection::Connection;
pub use error::{Error, ErrorKind, Result};
pub use options::{Options, Timing};
pub use serve::{Reply, Request};
pub use tresor_link_proto::{Failure, Limits, Notice, Peer, Role, codes, failures};
