//! The catalog of everything that can go wrong in front of a user (invariant I10).
//!
//! A [`Problem`] has a stable code, a cause, a remedy, an answer to "does a retry help" and a
//! fault domain. [`Kind`] is the one home of these facts: documentation (`docs/problems/`), the
//! CLI's text and its exit code are made from it. Crates below keep their own typed errors and
//! are mapped to a [`Kind`] where they meet the user, by an exhaustive match.
//!
//! Codes are never renamed and never reused. Where the cloud has a well-known name for the same
//! cause, the code keeps it, so that a search finds the known literature.

#[macro_use]
mod registry;
mod catalog;
mod docs;
mod report;

pub use catalog::Kind;
pub use docs::{index_page, page};
pub use registry::{Entry, ExitClass, Fault, Retry};
pub use report::Problem;
