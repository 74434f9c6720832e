//! Object stores on the loopback: real servers as processes of their own, a double of the one that
//! has no server to install, and a proxy for faults that a real server will not produce.
//!
//! # Invariants
//! - Each listens on a port that the kernel chose, and is gone with the value, or with the test's
//!   process.
//! - Every wait has a limit.

pub(crate) mod exchange;
mod google;
mod google_objects;
mod proxy;
mod server;

pub use google::GoogleDouble;
pub use proxy::{Fault, Proxy};
pub use server::{AZURITE_ACCOUNT, AZURITE_KEY, Azurite, Moto};
pub(crate) use server::{Server, installed};
