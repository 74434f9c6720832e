//! The vault: a deduplicated, encrypted, self-describing store of recovery points on any
//! [`tresor_backend::Backend`].
//!
//! The layouts are in docs/format/; what runs beside what is docs/format/commit-protocol.md.
//!
//! # Invariants
//! - I2: chunk, index, manifest, end object, in this durable order ([`WriteSession`]).
//! - I3: objects are written once; only collect deletes, and the keys' commands key slots.
//! - I8: nothing is decoded before its size is bounded; nothing is given out unverified.
//! - I9: cost follows change.
//! - Hashing, compressing and sealing run on a pool of threads of their own; memory is bounded
//!   whatever the size of a stream.

// The tests' helpers name this crate as every user does.
#[cfg(test)]
extern crate self as tresor_vault;

mod chunk;
mod collect;
mod copy;
mod damage;
mod domain;
mod error;
mod hold;
mod keys;
mod known;
mod many;
mod marks;
mod moved;
mod plans;
mod points;
mod pool;
mod random;
mod read;
mod record;
mod ring;
mod roster;
mod rotate;
mod session;
#[cfg(test)]
mod simulation;
mod slots;
mod standing;
mod store;
mod tree;
mod trust;
mod vault;
mod verify;
mod zero;

pub use collect::{
    CollectChoice, CollectOptions, CollectReport, CollectStep, Collected, DEFAULT_MARGIN,
    DEFAULT_MIN_GAIN,
};
pub use copy::{
    Base, CopyChoice, CopyOptions, CopyStats, PlannedCopy, ReadBack, copy_point, plan_copies,
};
pub use damage::{Heal, Losses, RepairTask, Repaired, Survey, mark_damaged};
pub use error::{Error, ErrorKind, Result};
pub use hold::{Held, HeldNote};
pub use keys::KeyMaterial;
pub use known::IndexProbe;
pub use points::PointList;
pub use read::{Copies, ExtentKind, Fetch, Instead, Piece, ReadAround, StreamReader};
pub use rotate::HostDomain;
pub use session::{
    DEFAULT_LEVEL, Doubt, Ended, Level, LevelCounts, PointSummary, SessionOptions, StreamStats,
    StreamWriter, WriteSession,
};
pub use slots::{SlotInfo, SlotKey, SlotList, new_recovery_key};
pub use standing::{Deletion, PointMarks, Standing};
pub use tresor_vault_format::limits::CHUNK_SIZE;
pub use tresor_vault_format::{DomainId, RecoveryKey};
pub use vault::{CreateOptions, Usage, Vault};
pub use verify::{
    Choice, Coverage, DamagedChunk, DamagedObject, History, Learnt, ObjectsReport, PointReport,
    Progress, Seen, check_structure, plan_choice, points_among, verify_chosen, verify_objects,
};
