//! A service's port with real TLS on loopback, and hosts that come to it.
#![allow(clippy::unwrap_used, reason = "tests")]

mod certificates;
mod hostile;
mod site;
mod vaults;
