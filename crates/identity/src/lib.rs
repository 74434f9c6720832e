//! Who is who: the service's own certificate authority, hosts' certificates, enrolment and API
//! tokens, roles, and the TLS configurations that rest on them. No HTTP, no SQL.
//!
//! # What
//! One port serves everybody. A host shows a certificate of the service's own [`Authority`], a
//! person or program shows an [`ApiToken`] over a connection without one. Who somebody is comes from
//! here; whether they are still welcome is the caller's to know ([`Roll`]); what they may do is one
//! table ([`may`]).
//!
//! # Invariants
//! - A certificate's role is in it, not in how it is used: `urn:tresor:service` for servers,
//!   `urn:tresor:host:<uuid>` for hosts, and extended key usages that make neither serve as the other.
//! - Every handshake proves afresh: sessions are not resumed, so none outlives its certificate.
//! - Secrets are held in memory that is wiped, printed by nobody's `Debug`, and stored as hashes only.
//! - What is read is bounded before it is decoded: files at [`MAX_FILE`], requests at
//!   [`MAX_REQUEST`], tokens at [`MAX_TOKEN`].
//!
//! # After a crash
//! The authority's key is published before its certificate, which is made from the key alone: what
//! a crash leaves is completed by the next start. A host's key, certificate and authorities are one
//! file that is replaced as a whole.
//!
//! Files, lifetimes, what a leaked file means, and how keys are changed: `docs/identity.md`.

mod address;
mod authority;
mod certificate;
mod clock;
mod error;
mod files;
mod fingerprint;
mod host;
mod peer;
mod permissions;
mod problem;
mod server;
mod tls;
mod token;

pub use address::{Address, AddressError};
pub use authority::{Authority, Issued, MAX_REQUEST, Names, NamesError, RequestError, Trust};
pub use clock::{Clock, SystemClock};
pub use error::{Error, ErrorKind, Result};
pub use files::{MAX_FILE, PutBack, put_back};
pub use fingerprint::{Fingerprint, FingerprintError};
pub use host::{HostIdentity, PendingHost};
pub use peer::{AdmitError, HostPeer, Peer, PeerError, Roll, Serial, SerialError, Standing};
pub use permissions::{Action, GroupRoles, Role, RoleError, matrix, may, may_on};
pub use server::{GivenFiles, OwnCertificate, ServerCertificates};
pub use tls::{
    Alpn, ApiTrust, HandshakeError, HandshakeErrorKind, Session, Shown, api_client_config,
    client_config, enrol_config, look_config, server_config, session,
};
pub use token::{
    ApiToken, EnrolmentToken, MAX_TOKEN, TokenError, TokenHash, TokenHashError, TokenSecretError,
};

/// What the fuzzer runs.
#[cfg(feature = "fuzzing")]
pub mod fuzzing {
    pub use crate::authority::request_is_good;
}
