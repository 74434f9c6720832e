//! The service: what is protected is backed up when its policy says so. No HTTP here.
//!
//! - One process at a time schedules (`scheduling`, `turn`): it keeps all items and the scheduler in memory (`fleet`),
//!   puts jobs that are due into the queue, and takes in how they ended.
//! - Each host takes its jobs from the queue ([`tresor_host::HostRole`]); this machine's is in this process.
//! - When an item starts is computed from its policy's windows (`outlook`); whether and when one that failed is
//!   tried again, from its cause (`retry`).
//! - What lasts is an alert (`alarm`), and people are told (`telling`), by every process.

mod alarm;
mod discovering;
mod ended;
mod fleet;
mod keeping;
mod order;
mod outlook;
mod policies;
mod retention;
mod retry;
mod scheduling;
mod service;
mod shut_out;
mod standing;
mod telling;
mod tracked;
mod turn;
mod vault_ends;
mod vitals;
mod whereabouts;

pub use order::order;
pub use outlook::Outlook;
pub use policies::make_ready;
pub use retention::{retention_of, unwanted};
pub use retry::pause_after;
pub use scheduling::SCHEDULER_LEASE;
pub use service::{LOCAL_LANE, Service, ServiceOptions};
pub use shut_out::end_jobs_of;
pub use standing::Standing;
pub use telling::{Sending, test_channel};
pub use turn::lane_of;
pub use vitals::Vitals;
