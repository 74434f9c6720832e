//! A typed client of the REST API (`docs/api`): the documents are the service's own types, failures are its
//! [`tresor_problem::Problem`]s with their codes.
//!
//! How a request gets to a service is a [`Transport`]: over HTTPS ([`Https`]), or whatever the caller has. All
//! else is here, and the same for each.
//!
//! # Invariants
//! - The token goes to the one server that it is for: redirects are never followed, no proxy is asked, and
//!   nothing is sent before the server has proved to be the one that is trusted.
//! - What a server answers is bounded before it is kept: bodies, events, pages.
//! - A change has its effect once: each has a key of its own, which all of its retries carry.
//!
//! # Retries
//! What was lost on the way, and what the service asks to send later (429, 503), is sent again after a pause,
//! a few times. A change without a key (a token that is made) is sent once.
//!
//! # Cancellation
//! A call that is dropped may have been carried out all the same.

mod channels;
mod client;
mod encode;
mod events;
mod follow;
mod hosts;
mod https;
mod items;
mod jobs;
mod look;
mod pages;
mod points;
mod policies;
mod retry;
mod sse;
mod tokens;
mod transport;
mod vaults;
mod views;

pub use client::Client;
pub use events::{Events, News};
pub use https::Https;
pub use look::look;
pub use pages::Pages;
pub use retry::Patience;
pub use transport::{Chunks, Reply, SendError, Transport};
pub use tresor_api_types as types;
