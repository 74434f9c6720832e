//! How clients know the service: by its authority, not by the name it is reached by.
//!
//! Both verifiers leave chains, times, purposes and signatures to rustls (webpki). What they add is
//! which authority counts, and that the certificate is the service's own.

use std::sync::{Arc, OnceLock};

use rustls::{
    CertificateError, DigitallySignedStruct, Error as TlsError, OtherError, RootCertStore,
    SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor, verify_server_name,
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};

use super::failure::Distrust;
use crate::{
    Fingerprint, HostIdentity,
    certificate::{Facts, is_self_signed},
};

/// For an enrolled host: the service, by any authority that the host trusts now.
#[derive(Debug)]
pub(super) struct LinkVerifier {
    identity: Arc<HostIdentity>,
    provider: Arc<CryptoProvider>,
}

impl LinkVerifier {
    pub(super) fn new(identity: Arc<HostIdentity>, provider: Arc<CryptoProvider>) -> Self {
        Self { identity, provider }
    }

    fn verify(&self, chain: &Chain<'_>) -> Result<(), TlsError> {
        chain.ends_in(self.identity.trust().roots(), &self.provider)?;
        chain.is_service()
    }
}

/// What a fingerprint is to vouch for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pinned {
    /// The service's own certificate, under any name.
    Service,
    /// A server with the name that was asked for, or whose own key it is.
    Named,
}

/// By a fingerprint alone.
#[derive(Debug)]
pub(super) struct PinVerifier {
    pin: Fingerprint,
    pinned: Pinned,
    provider: Arc<CryptoProvider>,
}

impl PinVerifier {
    pub(super) fn new(pin: Fingerprint, pinned: Pinned, provider: Arc<CryptoProvider>) -> Self {
        Self {
            pin,
            pinned,
            provider,
        }
    }

    fn verify(&self, chain: &Chain<'_>, name: &ServerName<'_>) -> Result<(), TlsError> {
        let own = Facts::read(chain.own).ok_or_else(bad_encoding)?;
        if self.pinned == Pinned::Named && own.fingerprint == self.pin {
            return in_time(&own, chain.now);
        }
        let anchor = chain.above.iter().find(|certificate| {
            let facts = Facts::read(certificate);
            facts.is_some_and(|facts| facts.is_authority && facts.fingerprint == self.pin)
        });
        let anchor = anchor.ok_or_else(|| Distrust::Fingerprint.into_tls())?;
        // The fingerprint is of the key alone. What else the certificate says, its bounds on names
        // above all, counts only if that key has signed it.
        if !is_self_signed(anchor) {
            return Err(CertificateError::BadSignature.into());
        }
        let facts = Facts::read(anchor).ok_or_else(bad_encoding)?;
        in_time(&facts, chain.now)?;
        let mut roots = RootCertStore::empty();
        roots.add(anchor.clone())?;
        chain.ends_in(&roots, &self.provider)?;
        match self.pinned {
            Pinned::Service => chain.is_service(),
            Pinned::Named => verify_server_name(&ParsedCertificate::try_from(chain.own)?, name),
        }
    }
}

/// What a server has shown to somebody who only looked.
#[derive(Debug, Clone, Default)]
pub struct Shown(Arc<OnceLock<Fingerprint>>);

impl Shown {
    /// Of its authority, or where it shows none, of its own key; `None`: it has shown nothing yet.
    #[must_use]
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.0.get().copied()
    }
}

/// Nobody is trusted: what is shown is remembered.
#[derive(Debug)]
pub(super) struct LookVerifier {
    shown: Shown,
    provider: Arc<CryptoProvider>,
}

impl LookVerifier {
    pub(super) fn new(shown: Shown, provider: Arc<CryptoProvider>) -> Self {
        Self { shown, provider }
    }

    fn verify(&self, chain: &Chain<'_>) -> Result<(), TlsError> {
        let above = chain.above.iter().filter_map(|above| Facts::read(above));
        let authority = above.rev().find(|facts| facts.is_authority);
        let facts = authority.or_else(|| Facts::read(chain.own));
        let facts = facts.ok_or_else(bad_encoding)?;
        self.shown.0.get_or_init(|| facts.fingerprint);
        Err(Distrust::Fingerprint.into_tls())
    }
}

/// What a server showed.
struct Chain<'a> {
    own: &'a CertificateDer<'a>,
    above: &'a [CertificateDer<'a>],
    now: UnixTime,
}

impl Chain<'_> {
    fn ends_in(&self, roots: &RootCertStore, provider: &CryptoProvider) -> Result<(), TlsError> {
        let own = ParsedCertificate::try_from(self.own)?;
        let algorithms = provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&own, roots, self.above, self.now, algorithms)
    }

    fn is_service(&self) -> Result<(), TlsError> {
        match Facts::read(self.own) {
            Some(facts) if facts.is_service() => Ok(()),
            Some(_) => Err(Distrust::NotTheService.into_tls()),
            None => Err(bad_encoding()),
        }
    }
}

fn in_time(facts: &Facts, now: UnixTime) -> Result<(), TlsError> {
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if now > facts.not_after.as_second() {
        return Err(CertificateError::Expired.into());
    }
    if now < facts.not_before.as_second() {
        return Err(CertificateError::NotValidYet.into());
    }
    Ok(())
}

fn bad_encoding() -> TlsError {
    CertificateError::BadEncoding.into()
}

impl Distrust {
    fn into_tls(self) -> TlsError {
        CertificateError::Other(OtherError(Arc::new(self))).into()
    }
}

/// The parts that do not differ.
macro_rules! server_cert_verifier {
    ($name:ident, |$self:ident, $chain:ident, $server:ident| $verify:expr) => {
        impl ServerCertVerifier for $name {
            fn verify_server_cert(
                &self,
                own: &CertificateDer<'_>,
                above: &[CertificateDer<'_>],
                $server: &ServerName<'_>,
                _ocsp: &[u8],
                now: UnixTime,
            ) -> Result<ServerCertVerified, TlsError> {
                let ($self, $chain) = (self, Chain { own, above, now });
                $verify.map(|()| ServerCertVerified::assertion())
            }

            fn verify_tls12_signature(
                &self,
                message: &[u8],
                cert: &CertificateDer<'_>,
                dss: &DigitallySignedStruct,
            ) -> Result<HandshakeSignatureValid, TlsError> {
                let algorithms = &self.provider.signature_verification_algorithms;
                verify_tls12_signature(message, cert, dss, algorithms)
            }

            fn verify_tls13_signature(
                &self,
                message: &[u8],
                cert: &CertificateDer<'_>,
                dss: &DigitallySignedStruct,
            ) -> Result<HandshakeSignatureValid, TlsError> {
                let algorithms = &self.provider.signature_verification_algorithms;
                verify_tls13_signature(message, cert, dss, algorithms)
            }

            fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
                let algorithms = &self.provider.signature_verification_algorithms;
                algorithms.supported_schemes()
            }
        }
    };
}

server_cert_verifier!(LinkVerifier, |this, chain, _name| this.verify(&chain));
server_cert_verifier!(LookVerifier, |this, chain, _name| this.verify(&chain));
server_cert_verifier!(PinVerifier, |this, chain, name| this.verify(&chain, name));
