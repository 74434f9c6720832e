//! Finding damage before somebody needs the data.
//!
//! [`Vault::verify_point`](crate::Vault::verify_point) reads a recovery point as a restore would and
//! needs the keys; [`Vault::verify_keys`](crate::Vault::verify_keys) looks at the key rings, which
//! must be opened for it; [`verify_objects`] reads every object and needs no key, so that whoever
//! stores a vault can look after it. All go on after damage and report all of it.

mod keys;
mod objects;
pub(crate) mod pack;
mod point;
mod promote;

pub use objects::{DamagedObject, ObjectsReport, verify_objects};
pub use point::{DamagedChunk, PointReport};
pub(crate) use promote::Witness;

/// How far a verification is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that were read.
    pub done: u64,
    /// Bytes that will be, as far as is known.
    pub total: u64,
}
