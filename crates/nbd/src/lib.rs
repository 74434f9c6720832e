//! A client of the Network Block Device protocol, for reading exports and their block status.
//!
//! # What must hold
//! - Bytes handed to a caller are bytes the server sent for that request: every byte of a read came exactly once, or
//!   the read failed. No error is ever turned into zeroes.
//! - The server is not trusted. Every length it sends is bounded before memory is taken for it; a chunk outside its
//!   request, an overlap, a reply to nothing, an unknown chunk are violations. `docs/protocol/nbd.md` lists the bounds.
//! - After a violation a connection is never used again: there is no way to find the next header in a stream that is
//!   out of step. All requests outstanding on it fail with that violation, the first cause is kept, later requests
//!   get it too. A failure of the server for one request alone leaves the connection sound.
//! - What one connection keeps for requests in flight is bounded (64 MiB, 64 requests); callers beyond it wait.
//!
//! # Cancellation
//! Every future may be dropped at any point. A request enters the table of outstanding requests and the queue of the
//! writer in one step without an await; from then on the connection's own task owns it, takes the whole answer off the
//! wire and throws it away. Its share of the budget is freed then, not before.
//!
//! # Time
//! A server that leaves one request unanswered for `request_limit` is given up: the connection ends with
//! [`ErrorKind::LimitPassed`] for everything on it. Waiting for room in the budget does not count.
//!
//! # After a crash
//! Nothing is kept and nothing is written: a client holds no state that outlives it. When the client dies the server
//! sees the socket close. When the server dies every request fails with [`ErrorKind::ConnectionLost`]; this crate does
//! not reconnect, because whether the export behind the address is still the same one is not its to judge.

mod address;
mod assembly;
mod client;
mod connection;
mod error;
mod flags;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod handshake;
mod info;
mod outstanding;
mod plan;
mod receive;
mod status;
mod wire;

pub use address::Address;
pub use client::{Client, ConnectOptions, MAX_CONNECTIONS};
pub use error::{Errno, Error, ErrorKind, Result};
pub use flags::{
    ALLOCATION_HOLE, ALLOCATION_ZERO, BASE_ALLOCATION, BITMAP_DIRTY, dirty_bitmap_context,
};
pub use info::{BlockSizes, DEFAULT_MIN_BLOCK, DEFAULT_PREFERRED_BLOCK, ExportInfo, MAX_READ};
pub use status::{BlockStatus, MAX_MAP_EXTENTS};
pub use wire::reply::Descriptor;
