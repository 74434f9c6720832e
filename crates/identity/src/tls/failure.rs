//! What became of a handshake that failed, and whose certificate it was about.

use std::{error::Error as StdError, fmt, io, sync::Arc};

use rustls::{AlertDescription, CertificateError, Error as TlsError};

use crate::PeerError;

/// Why a verifier of ours distrusts a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Distrust {
    #[error("no authority with the expected fingerprint is in the server's chain")]
    Fingerprint,
    #[error("the certificate is of the authority, but not the service's")]
    NotTheService,
}

/// What kind of failure it was. "The other end's" is what we have seen ourselves; "refused" is what
/// the other end says of us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandshakeErrorKind {
    /// The other end's certificate ended.
    Expired,
    /// The other end's certificate begins later: one of the clocks is wrong.
    NotValidYet,
    /// The other end's certificate is of no authority that we trust.
    UnknownAuthority,
    /// The server's authority is not the one of the fingerprint.
    WrongFingerprint,
    /// The server's certificate is of our authority, and not the service's.
    NotTheService,
    /// The server's certificate does not have the name it was reached by.
    WrongName,
    /// The other end's certificate is for something else: a host's shown by a server, or the
    /// other way around.
    WrongPurpose,
    /// The other end's certificate is damaged, falsely signed or names nobody.
    BadCertificate,
    /// A host came without a certificate.
    CertificateNeeded,
    /// We were refused: our certificate ended, by the other end's clock.
    RefusedExpired,
    /// We were refused: the other end does not know our authority.
    RefusedUnknownAuthority,
    /// We were refused for another reason.
    Refused,
    /// The two ends have no protocol in common: another program, or another version.
    NoCommonProtocol,
    /// The other end does not speak TLS as it should.
    Protocol,
    /// The connection broke.
    Lost,
}

/// A failed handshake: the kind, and what the library says.
#[derive(Debug, Clone)]
pub struct HandshakeError {
    kind: HandshakeErrorKind,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl HandshakeError {
    /// Sorts what an accept, a connect, a read or a write on a TLS stream gave. A client learns
    /// from its first read whether the server took its certificate (TLS 1.3).
    #[must_use]
    pub fn of(error: &io::Error) -> Self {
        let inner = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<TlsError>());
        match inner {
            Some(tls) => Self::of_tls(tls),
            None => Self {
                kind: HandshakeErrorKind::Lost,
                source: Some(Arc::new(io::Error::new(error.kind(), error.to_string()))),
            },
        }
    }

    /// Sorts an error of rustls.
    #[must_use]
    pub fn of_tls(error: &TlsError) -> Self {
        Self {
            kind: sort(error),
            source: Some(Arc::new(error.clone())),
        }
    }

    pub(super) fn of_peer(error: PeerError) -> Self {
        Self {
            kind: HandshakeErrorKind::BadCertificate,
            source: Some(Arc::new(error)),
        }
    }

    pub(super) fn certificate_needed() -> Self {
        Self {
            kind: HandshakeErrorKind::CertificateNeeded,
            source: None,
        }
    }

    /// What kind of failure it was.
    #[must_use]
    pub const fn kind(&self) -> HandshakeErrorKind {
        self.kind
    }
}

fn sort(error: &TlsError) -> HandshakeErrorKind {
    use HandshakeErrorKind as Kind;
    match error {
        TlsError::InvalidCertificate(error) => sort_certificate(error),
        TlsError::NoCertificatesPresented => Kind::CertificateNeeded,
        TlsError::AlertReceived(alert) => match alert {
            AlertDescription::CertificateExpired => Kind::RefusedExpired,
            AlertDescription::UnknownCA => Kind::RefusedUnknownAuthority,
            AlertDescription::NoApplicationProtocol | AlertDescription::ProtocolVersion => {
                Kind::NoCommonProtocol
            }
            _ => Kind::Refused,
        },
        TlsError::NoApplicationProtocol | TlsError::PeerIncompatible(_) => Kind::NoCommonProtocol,
        _ => Kind::Protocol,
    }
}

fn sort_certificate(error: &CertificateError) -> HandshakeErrorKind {
    use CertificateError as Certificate;
    use HandshakeErrorKind as Kind;
    match error {
        Certificate::Expired | Certificate::ExpiredContext { .. } => Kind::Expired,
        Certificate::NotValidYet | Certificate::NotValidYetContext { .. } => Kind::NotValidYet,
        Certificate::UnknownIssuer => Kind::UnknownAuthority,
        Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => {
            Kind::WrongName
        }
        Certificate::InvalidPurpose | Certificate::InvalidPurposeContext { .. } => {
            Kind::WrongPurpose
        }
        Certificate::Other(other) => match other.0.downcast_ref::<Distrust>() {
            Some(Distrust::Fingerprint) => Kind::WrongFingerprint,
            Some(Distrust::NotTheService) => Kind::NotTheService,
            None => Kind::BadCertificate,
        },
        _ => Kind::BadCertificate,
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use HandshakeErrorKind as Kind;
        f.write_str(match self.kind {
            Kind::Expired => "the other end's certificate has ended",
            Kind::NotValidYet => "the other end's certificate is not valid yet: a clock is wrong",
            Kind::UnknownAuthority => "the other end's certificate is of no trusted authority",
            Kind::WrongFingerprint => "the server's authority has another fingerprint",
            Kind::NotTheService => "the server's certificate is not the service's",
            Kind::WrongName => "the server's certificate is for another name",
            Kind::WrongPurpose => "the other end's certificate is for another purpose",
            Kind::BadCertificate => "the other end's certificate cannot be used",
            Kind::CertificateNeeded => "a host's certificate is needed and none was shown",
            Kind::RefusedExpired => "the other end refused our certificate: it has ended",
            Kind::RefusedUnknownAuthority => {
                "the other end refused our certificate: it does not know its authority"
            }
            Kind::Refused => "the other end refused",
            Kind::NoCommonProtocol => "the other end speaks another protocol or version",
            Kind::Protocol => "the other end does not speak TLS as it should",
            Kind::Lost => "the connection broke",
        })
    }
}

impl StdError for HandshakeError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        let source = self.source.as_deref()?;
        Some(source)
    }
}
