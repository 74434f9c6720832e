//! The gateway: a host's way to a vault through the service. [`GatewayBackend`] is a
//! [`tresor_backend::Backend`] at the host; [`Gateway`] answers it at the service, in front of the
//! backend that keeps the vault. Both speak docs/protocol/gateway.md over a
//! [`tresor_channel::Connection`], which somebody else opened and whose peer somebody else knows.
//!
//! # Invariants
//! - Through it nothing is deleted and nothing replaced (I3). Whatever destroys is refused, and told
//!   to the [`Audit`].
//! - A host sees and stores what is of its own domain and its own sessions, and reads what every
//!   writer must know. What that is, [`rules`] decides, without I/O.
//! - An object is stored when it is there whole, is what its name says, and names no key but the
//!   host's own: before, nobody sees any of it.
//! - Nothing from the other end is decoded or kept before its size is bounded (I8). What is kept for
//!   one host is bounded by [`Limits`], whatever it sends or does not read.
//!
//! # Retries
//! [`GatewayBackend`] repeats a call whose connection was lost, on the next connection. Every call
//! can be repeated: a put whose answer was lost is told from a conflict by its bytes.
//!
//! # Cancellation
//! A caller that gives up, or whose connection ends, has its call dropped at the service at the next
//! await: a put may or may not have happened then, whole.

pub mod client;
pub mod rules;
pub mod server;
pub mod wire;

pub use client::{Connections, GatewayBackend, Options};
pub use rules::{Refusal, Tenant, Why};
pub use server::{
    Access, Asked, Attempt, Audit, Budget, Gateway, HostAccess, KeyNumbers, Limits, MemorySessions,
    Sessions, Share, Stop, VaultSide,
};
