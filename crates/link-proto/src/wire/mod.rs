//! Bytes: frames, and what is in them.

mod codec;
mod decoder;
mod frame;
mod hello;
mod message;

pub(crate) use codec::{Fields, printable};
pub use decoder::Decoder;
pub use frame::{Frame, Header, Kind, StreamId};
pub(crate) use frame::{MAGIC, encode};
pub use hello::{Hello, Role};
pub use message::{Failure, Notice, codes, failures};
pub(crate) use message::{method_of, request_body};
