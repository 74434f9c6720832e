//! Retention: which recovery points stay, which go, and why.
//!
//! A pure function, [`decide`]: points and rules in, a decision with its reason for each point
//! out. It knows no vault and no clock.
//!
//! # Invariants
//! - The newest point of a VM that can be read stays, whatever the rules say. Points that cannot
//!   be read are never taken for the newest, never counted, and never removed.
//! - Points of one VM do not count for another's.
//! - Points of a VM are ordered as they were made (by their number, then by time), so that a clock
//!   that jumped changes no order. A wrong time may keep a point too many, never remove others.
//! - Applied twice at one time, the second time removes nothing.

pub mod calendar;
mod decide;
mod rules;

pub use decide::{Decision, Deletion, KeepReason, Point, RemoveReason, Verdict, decide};
pub use rules::{Rule, Rules, RulesError, parse_duration};
