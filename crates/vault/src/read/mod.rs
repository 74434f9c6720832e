//! Reading streams back.
//!
//! # Invariants
//! Nothing is given out that was not opened under its key and compared with its id. Locations
//! are hints from nodes; ids are the truth. What a hint does not lead to is looked for elsewhere
//! ([`elsewhere`], [`around`]), apart from the fast path.

mod around;
mod cache;
mod compare;
mod elsewhere;
mod fetch;
mod open;
mod perform;
mod plan;
pub(crate) mod reader;

pub(crate) use around::AroundLog;
pub use around::{Copies, Instead, ReadAround};
pub(crate) use cache::{FrameCache, frame};
pub(crate) use elsewhere::{Elsewhere, places_of};
pub use fetch::{Fetch, Piece};
pub(crate) use open::open_whole;
pub(crate) use plan::{PlannedFrame, PlannedRead, plan_reads};
pub use reader::{ExtentKind, StreamReader};
pub(crate) use reader::{chunk_at, verified};
