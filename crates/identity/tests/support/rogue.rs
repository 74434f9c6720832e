//! Ends that do not keep to the rules: clients that trust everybody, servers with others' certificates.

use std::{fs, path::Path, sync::Arc};

use rcgen::{
    CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType, string::Ia5String,
};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, ServerConfig, SignatureScheme,
    client::{
        ResolvesClientCert,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
    server::{ClientHello, NoClientAuth, ResolvesServerCert},
    sign::CertifiedKey,
    version::TLS13,
};
use tresor_identity::Alpn;

use super::Service;

/// A certificate that stays.
#[derive(Debug)]
struct Fixed(Arc<CertifiedKey>);

impl ResolvesServerCert for Fixed {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

impl ResolvesClientCert for Fixed {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Takes every server.
#[derive(Debug)]
struct Blind;

impl ServerCertVerifier for Blind {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = default_provider().signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

/// Key and certificates of a file, in its order.
pub(crate) fn of_file(path: &Path) -> CertifiedKey {
    let pem = fs::read(path).unwrap();
    let key = PrivateKeyDer::from_pem_slice(&pem).unwrap();
    let chain = CertificateDer::pem_slice_iter(&pem).map(Result::unwrap);
    CertifiedKey::from_der(chain.collect(), key, &default_provider()).unwrap()
}

/// What somebody can sign who has the authority's key.
pub(crate) fn signed(
    service: &Service,
    usage: ExtendedKeyUsagePurpose,
    names: Vec<SanType>,
) -> CertifiedKey {
    let pem = fs::read_to_string(service.dir.path().join("ca.key")).unwrap();
    let authority = service.authority.certificate();
    let issuer = Issuer::from_ca_cert_der(authority, KeyPair::from_pem(&pem).unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.subject_alt_names = names;
    params.is_ca = IsCa::ExplicitNoCa;
    params.extended_key_usages = vec![usage];
    let own = params.signed_by(&key, &issuer).unwrap();
    let chain = vec![own.into(), authority.clone()];
    CertifiedKey::from_der(chain, key.into(), &default_provider()).unwrap()
}

pub(crate) fn uri(text: &str) -> SanType {
    SanType::URI(Ia5String::try_from(text).unwrap())
}

pub(crate) fn dns(text: &str) -> SanType {
    SanType::DnsName(Ia5String::try_from(text).unwrap())
}

/// A client that trusts everybody, shows what it is told to and asks for the link.
pub(crate) fn blind(shows: Option<CertifiedKey>) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Blind));
    let mut config = match shows {
        Some(key) => builder.with_client_cert_resolver(Arc::new(Fixed(Arc::new(key)))),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![Alpn::Link.id().to_vec()];
    config
}

/// A server that shows what it is told to and takes everybody.
pub(crate) fn serving(shows: CertifiedKey) -> ServerConfig {
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_client_cert_verifier(Arc::new(NoClientAuth))
        .with_cert_resolver(Arc::new(Fixed(Arc::new(shows))));
    config.alpn_protocols = Alpn::ALL.map(|alpn| alpn.id().to_vec()).to_vec();
    config
}
