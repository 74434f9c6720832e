//! TLS configurations: 1.3 only (before it, clients' certificates go in plain), one provider, no
//! resumption (a resumed session would not look at certificates again).

mod configs;
mod failure;
mod verify;

use std::sync::Arc;

use rustls::{
    ServerConnection,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer},
    sign::CertifiedKey,
};

use crate::{HostPeer, Peer};

pub use configs::{
    ApiTrust, api_client_config, client_config, enrol_config, look_config, server_config,
};
pub use failure::{HandshakeError, HandshakeErrorKind};
pub use verify::Shown;

/// What is spoken on a connection, by its id in the handshake (RFC 7301).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alpn {
    /// The link of a host that is enrolled (`docs/protocol/link.md`).
    Link,
    /// The link of a host that wants to be.
    Enrol,
    /// The API over HTTP/2.
    Http2,
    /// The API over HTTP/1.1.
    Http1,
}

impl Alpn {
    /// All of them, those that the server prefers first.
    pub const ALL: [Self; 4] = [Self::Link, Self::Enrol, Self::Http2, Self::Http1];

    /// Its id on the wire.
    #[must_use]
    pub const fn id(self) -> &'static [u8] {
        match self {
            Self::Link => b"tresor-link/1",
            Self::Enrol => b"tresor-enrol/1",
            Self::Http2 => b"h2",
            Self::Http1 => b"http/1.1",
        }
    }

    /// Whether only hosts speak it.
    pub(crate) fn is_for_hosts(id: &[u8]) -> bool {
        [Self::Link, Self::Enrol].iter().any(|host| host.id() == id)
    }
}

/// Who came for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Session {
    /// A host that is enrolled. It is asked for at the roll before anything else
    /// ([`HostPeer::admit`]).
    Link(HostPeer),
    /// Somebody who wants to enrol, and shows an enrolment token next.
    Enrol,
    /// The API: by a token, or by a host's certificate.
    Api(Peer),
}

/// Says who came for what, once the handshake is done.
///
/// # Errors
/// [`HandshakeErrorKind::CertificateNeeded`] when the link was chosen without a certificate,
/// [`HandshakeErrorKind::BadCertificate`] when the certificate names nobody: end the connection.
pub fn session(connection: &ServerConnection) -> Result<Session, HandshakeError> {
    let peer = Peer::of(connection.peer_certificates()).map_err(HandshakeError::of_peer)?;
    match (connection.alpn_protocol(), peer) {
        (Some(id), Peer::Host(host)) if id == Alpn::Link.id() => Ok(Session::Link(host)),
        (Some(id), Peer::Anonymous) if id == Alpn::Link.id() => {
            Err(HandshakeError::certificate_needed())
        }
        (Some(id), _) if id == Alpn::Enrol.id() => Ok(Session::Enrol),
        (_, peer) => Ok(Session::Api(peer)),
    }
}

/// The one cryptographic provider, named everywhere: nothing rests on a process-wide default.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// A chain with its key, seen to fit.
pub(crate) fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<CertifiedKey, rustls::Error> {
    CertifiedKey::from_der(chain, key, &provider())
}
