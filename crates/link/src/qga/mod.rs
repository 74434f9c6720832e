//! The QEMU guest agent, over the host side of its virtio-serial port.
//!
//! That agent never thaws by itself, and serves one client at a time. So every call here opens
//! and closes its own connection, but for a freeze: that one belongs to the
//! [guard](crate::guard), which holds the connection until the guest is thawed.

mod adapter;
mod commands;
mod connection;
mod evidence;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod thaw;

pub use adapter::QemuGuestAgent;
pub(crate) use commands::{freeze, info};
pub use connection::Connection;
pub(crate) use thaw::{NotThawed, thaw_until};
