//! What commands work on: this machine's catalog, or a service elsewhere. Commands ask one typed client either
//! way; what differs is how its requests get there.

mod choice;
mod context;
mod near;
mod reach;
mod secret;

pub(crate) use choice::{Needs, needs};
pub(crate) use context::Context;
pub(crate) use near::near;
pub(crate) use reach::{Source, token_of, trust_of};
pub(crate) use secret::token_in;
