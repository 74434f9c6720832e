//! Reading streams back.
//!
//! # Invariants
//! Nothing is given out that was not opened under its key and compared with its id. Locations
//! are hints from nodes; ids are the truth.

mod cache;
mod compare;
mod fetch;
mod plan;
mod reader;

pub(crate) use cache::{FrameCache, frame};
pub use fetch::{Fetch, Piece};
pub use reader::{ExtentKind, StreamReader};
pub(crate) use reader::{chunk_at, verified};
