//! The QEMU guest agent, over the host side of its virtio-serial port.
//!
//! That agent never thaws by itself, and serves one client at a time. So every call here opens
//! and closes its own connection, but for a freeze: that one belongs to the
//! [guard](crate::guard), which holds the connection until the guest is thawed.

mod adapter;
mod commands;
mod connection;
mod evidence;

pub use adapter::QemuGuestAgent;
pub(crate) use commands::{freeze, thaw_until};
pub use connection::Connection;
