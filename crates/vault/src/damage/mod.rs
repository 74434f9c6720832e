//! What is known to be damaged, and putting it right.
//!
//! Whoever finds that a pack cannot be read leaves a mark ([`Vault::mark_damaged`]). From then on no
//! writer takes what is in the pack as known, so that the next backup stores it again; and the next
//! backup of a VM reads from its disk what the last point has in such packs ([`Survey`], [`Heal`]).
//! What no disk has any more comes from a copy in another vault ([`Vault::repair_stream`]).
//!
//! Nothing is replaced (I3): the damaged pack stays as it is, its content gets another place, and
//! readers find that by the index (`read::elsewhere`).
//!
//! # After a crash
//! A mark without a repair costs a survey at the next backup. A repair that was cut off has stored
//! some of what was lost, which is not lost any more.

mod marks;
mod repair;
mod survey;

pub(crate) use marks::{mark_pack, marked_packs};
pub use repair::{RepairTask, Repaired};
pub use survey::{Heal, Losses, Survey};
