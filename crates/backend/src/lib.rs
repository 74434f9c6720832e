//! The port to whatever keeps a vault's objects, and the backends that need no network.
//!
//! Objects are write-once: [`Backend::put`] never replaces one. A successful `put` is durable:
//! it survives a power cut right after. An object that is listed can be read whole.
//!
//! # After a crash
//! A `put` that was under way either happened whole or did not happen. Half-written files of the
//! local directory carry a name of their own, are never listed, and are removed by
//! [`Backend::sweep`].

pub mod aligned;
pub mod contract;
mod error;
pub mod local;
mod memory;
mod name;
mod port;
mod range;
pub mod sim;
pub mod wrap;

pub use error::{Error, ErrorKind};
pub use local::{DirFs, LocalBackend};
pub use memory::MemoryBackend;
pub use name::{NameError, ObjectName};
pub use port::{Backend, ObjectMeta, Properties, Retained};
pub use range::Part;
