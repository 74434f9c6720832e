//! The client against the real API: its router on a real catalog (SQLite), and the one port with TLS in front of
//! it; and against servers that are none.
#![allow(clippy::unwrap_used, reason = "tests")]

mod contract;
mod following;
mod hostile;
mod retrying;
mod support;
mod trust;
