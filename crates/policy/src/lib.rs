//! Policies: when backups start, and which recovery points stay. Pure: it knows no vault and no clock, and
//! time zones are given by the caller.
//!
//! - [`Policy`] is the document: schedules, blackouts, retention, limits. It is validated here.
//! - [`calendar`] reads calendar expressions; [`windows`] makes start windows of them, and the worst-case
//!   gap between recovery points.
//! - [`decide`] is retention: points and rules in, a decision with its reason for each point out.
//!
//! # Invariants of retention
//! - The newest point of a VM that can be read stays, whatever the rules say. Points that cannot
//!   be read are never taken for the newest, never counted, and never removed.
//! - Points of one VM do not count for another's.
//! - Points of a VM are ordered as they were made (by their number, then by time), so that a clock
//!   that jumped changes no order. A wrong time may keep a point too many, never remove others.
//! - Applied twice at one time, the second time removes nothing.

pub mod calendar;
mod decide;
mod document;
mod length;
mod rules;
pub mod windows;

pub use decide::{Decision, Deletion, KeepReason, Point, RemoveReason, Verdict, decide, let_go};
pub use document::{
    Bandwidth, Blackout, Concurrency, ConsistencyGoal, Policy, PolicyError, PolicyProblem, Retry,
    Schedule, TimeLimits,
};
pub use length::{Length, LengthError};
pub use rules::{Rule, Rules, RulesError, parse_duration};
