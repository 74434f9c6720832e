//! Tests that hold for any plan and any log. A new job kind gets its crash tests by implementing
//! [`PlanFixture`] and calling [`check_plan`]; a new log by calling [`contract::check_log`].
//!
//! They panic when something does not hold, as test assertions do.

mod cases;
pub mod contract;
mod crash;
mod faulty;
pub mod queue;

use std::sync::Arc;

use async_trait::async_trait;
use tresor_model::JobId;

use crate::{JobLog, JobPlan, MemoryJobLog, Owner};

pub use cases::{
    cancels_unwind, check_plan, crashes_are_recovered, failures_unwind, sub_tasks_run_twice,
};
pub use crash::{CrashPoint, CrashingLog};
pub use faulty::Fault;

/// A plan under test and the world it acts on.
#[async_trait]
pub trait PlanFixture: Send + Sync {
    /// The plan's context.
    type Context: Send + 'static;

    /// Makes a fresh world in its initial state; called before each case.
    async fn reset(&self);

    /// The plan, as the first process or one that recovers the job would build it.
    async fn plan(&self, job: JobId) -> JobPlan<Self::Context>;

    /// A context as a new process would have it, over the same world.
    async fn context(&self, job: JobId) -> Self::Context;

    /// What can be seen of the world from outside, in any form that compares: what the job must
    /// leave as it was when it is taken back. What it may leave (unreferenced data in a vault)
    /// is not part of it.
    async fn probe(&self) -> String;

    /// The log of a case: empty, or without unfinished jobs of ours.
    async fn log(&self) -> Arc<dyn JobLog> {
        Arc::new(MemoryJobLog::default())
    }
}

/// The owner of a job whose process is certainly gone: no process starts at tick 0 of a boot with
/// the id of this one.
#[must_use]
pub fn dead_owner() -> Owner {
    Owner {
        started: 0,
        ..Owner::current()
    }
}
