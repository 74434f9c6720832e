//! Finding damage before somebody needs the data.
//!
//! | | reads | needs |
//! | --- | --- | --- |
//! | [`Vault::verify_point`](crate::Vault::verify_point) | a recovery point, as a restore would | keys |
//! | [`Vault::verify_keys`](crate::Vault::verify_keys) | the key rings, which must be opened for it | keys |
//! | [`Vault::verify_manifests`](crate::Vault::verify_manifests) | what is new in a point's manifests; no data | keys |
//! | [`verify_objects`] | every object | nothing |
//! | [`verify_chosen`] | some of them: a [share](Choice::Share), or [what is new](Choice::SinceLast) | nothing |
//! | [`check_structure`] | what tells of other objects; no packs | nothing |
//!
//! Whoever stores a vault can look after it without a key. All go on after damage and report all of
//! it.

mod examine;
mod keys;
mod manifest;
mod objects;
pub(crate) mod pack;
mod point;
mod promote;
mod sample;

pub use examine::{check_structure, verify_chosen, verify_objects};
pub use objects::{DamagedObject, ObjectsReport};
pub use point::{DamagedChunk, PointReport};
pub(crate) use promote::Witness;
pub use sample::{Choice, Coverage, History, Learnt, Seen, plan_choice, points_among};

/// How far a verification is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that were read.
    pub done: u64,
    /// Bytes that will be, as far as is known.
    pub total: u64,
}
