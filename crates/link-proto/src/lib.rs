//! The link protocol: what the service, a hypervisor's host and a guest's agent say to each other,
//! as bytes in and bytes out. No I/O, no clock, no randomness, no async.
//!
//! The layouts and the reasons are in docs/protocol/link.md; each module names its part of it.
//! [`Link`] is one end of a connection; `tresor-channel` runs it on a stream.
//!
//! # Invariants
//! - Whatever comes in, nothing panics, and nothing is allocated by a length that was not compared
//!   with its limit before (I8).
//! - What one end keeps is bounded by its own [`Limits`], whatever the other end does or leaves undone.
//! - Bytes that a stream gives out are those that were put in, in order and without a gap, or the
//!   stream ends in an error.
//! - A frame that was written for an earlier session is never taken for one of this session.
//!
//! # After an error
//! An [`Error`] is the end of the link: what is left of the output is a frame that tells the other end
//! why. [`Misuse`] is an error of this end's own caller and changes nothing.

mod error;
pub mod limits;
mod link;
mod wire;

pub use error::{Error, ErrorKind, Misuse, Result};
pub use limits::Limits;
pub use link::{Event, Link, Own, Peer, Read, Reply, Request};
pub use wire::{
    Decoder, Failure, Frame, Header, Hello, Kind, Notice, Role, StreamId, codes, failures,
};
