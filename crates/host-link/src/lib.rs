//! What a host and the service say to each other about jobs and VMs. [`RemoteLog`] and
//! [`RemoteRegistry`] are at the host what a catalog is at the service: a host role
//! (`tresor_host::HostRole`) works on them as it works on a catalog. [`Desk`] answers one host at the
//! service. Both speak docs/protocol/host.md over a [`tresor_channel::Connection`], which somebody else
//! opened and whose peer somebody else knows; a gateway may answer on the same one
//! ([`Desk::handles`]).
//!
//! # Invariants
//! - Log before effect holds over the link: a call of the log returns when its effect is durable at the
//!   service, or says that it may not be.
//! - A host sees and changes what is in its own lane and what is said of its own VMs, nothing else
//!   (`rules`). A job of another lane is not there.
//! - The service's clock counts: for what is due, for signs of life, for when something was seen.
//! - Nothing from the other end is decoded before its size is bounded (I8).
//!
//! # A host that is away
//! Its jobs are its own. The service's role looks at its own lane only
//! (`tresor_jobs::Engine::abandoned_in`), so nobody else takes them up, for however long the host is silent:
//! what they have begun is on that host, and nobody else can take it back. Their lock keys stay held.
//! When the host is there again, its next process finds them: at once where the machine's own process table or its
//! boot tells that the old process is gone, else after [`Options::silence`] (`tresor_jobs::Owner::liveness`).
//! A process that was only cut off goes on with its lease, if it comes back before it has given up.

//!
//! Without the feature `ends` only what is said is there ([`wire`]), for the fuzzer.

#[cfg(feature = "ends")]
pub mod client;
#[cfg(feature = "ends")]
mod records;
#[cfg(feature = "ends")]
pub mod rules;
#[cfg(feature = "ends")]
pub mod server;
pub mod wire;

#[cfg(feature = "ends")]
pub use client::{Connections, Options, RemoteLog, RemoteRegistry, Reports, Vaults};
#[cfg(feature = "ends")]
pub use rules::Why;
#[cfg(feature = "ends")]
pub use server::{Attempt, Audit, Desk, Limits};
