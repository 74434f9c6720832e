//! The REST API under `/api/v1`, its event stream and the first page, as one [`axum::Router`]. No listening
//! and no TLS here: the program serves it.
//!
//! # Invariants
//! - Every request passes one gate (`gate`): who asks, whether that role may, and how often. What it needs is
//!   a row in one table (`endpoints`); a route without a row is refused to everybody.
//! - Every failure is a [`tresor_problem::Problem`] as JSON; its status comes from one pure table (`status`).
//! - Every change has an entry in the audit log, with what was before and what is after.
//! - What is secret in a channel's settings goes in and never comes out.
//! - Bodies, pages, waiting and the number of listeners are bounded.
//!
//! # Cancellation
//! A request that was begun is carried out whether or not its client waits for the answer.
//!
//! How to authenticate, page and retry: `docs/api/README.md`.

mod access;
mod body;
mod endpoints;
mod enrol;
mod events;
mod failure;
mod gate;
mod idempotency;
mod logins;
mod metrics;
mod nouns;
mod openapi;
mod outlooks;
mod page;
mod rate;
mod router;
mod site;
mod state;
mod status;
mod trail;
mod watcher;

pub use access::{Access, Principal, TokenAccess};
pub use endpoints::{ENDPOINTS, Endpoint, Needs};
pub use enrol::Enrol;
pub use logins::{LoginAccess, Logins};
pub use metrics::{METRICS, Metric, MetricKind, metrics_page};
pub use openapi::document;
pub use router::router;
pub use state::{ApiOptions, ApiState};
pub use status::status_of;
