//! How a host gets to the service and stays with it: enrolment, certificates, the connection itself, and
//! the vaults that it reaches through it. Both ends; docs/protocol/uplink.md has what is said.
//!
//! What is said over the connection of jobs and VMs is `tresor-host-link`'s, of a vault's objects
//! `tresor-gateway`'s. Here is who may say it, and who answers.
//!
//! # Invariants
//! - A host dials, the service never does.
//! - Nothing is answered before the catalog says that the host is welcome with the certificate that it shows,
//!   and a connection ends when it is not any more, or its certificate ends.
//! - A host's keys, of its certificate and of its vaults, are made on the host. The first never leaves it; the
//!   second the service needs, to make the domain that it opens.
//!
//! # After a crash
//! Of the service: hosts dial again. Of a host: its certificate and the keys of its vaults are files that are
//! there before the service acts on them, so what was done twice is the same thing.

mod host;
mod service;
mod wire;

pub use host::{Address, AddressError, Host, HostVaults, Pause, Shortcuts, Uplink, enrol};
pub use service::{HostLinks, LinkOptions, new_enrolment};
