//! The configurations themselves.

use std::sync::Arc;

use rustls::{
    ClientConfig, ConfigBuilder, ServerConfig, WantsVerifier,
    client::{Resumption, WebPkiServerVerifier, danger::ServerCertVerifier},
    server::{NoServerSessionStorage, WebPkiClientVerifier},
    version::TLS13,
};

use super::{
    Alpn, provider,
    verify::{LinkVerifier, LookVerifier, PinVerifier, Pinned, Shown},
};
use crate::{
    Clock, Error, Fingerprint, HostIdentity, Result, ServerCertificates, Trust, clock::TlsClock,
};

/// The server's side, for everybody who comes to the one port. Clients may show a certificate;
/// if they do, it must be for clients, of a trusted authority, and of now.
///
/// # Errors
/// [`crate::ErrorKind::Crypto`].
pub fn server_config(
    certificates: Arc<ServerCertificates>,
    trust: &Trust,
    alpn: &[Alpn],
    clock: Arc<dyn Clock>,
) -> Result<ServerConfig> {
    let roots = Arc::clone(trust.roots());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider())
        .allow_unauthenticated()
        .build()
        .map_err(|error| Error::crypto("hosts' certificates cannot be verified", error))?;
    let mut config = ServerConfig::builder_with_details(provider(), Arc::new(TlsClock(clock)))
        .with_protocol_versions(&[&TLS13])
        .map_err(unfit)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(certificates);
    config.alpn_protocols = ids(alpn);
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// An enrolled host's side of its link. The server must show the service's certificate of an
/// authority that the host trusts; the name it is reached by does not matter, since only the
/// service has such a certificate.
///
/// # Errors
/// [`crate::ErrorKind::Crypto`].
pub fn client_config(identity: Arc<HostIdentity>, clock: Arc<dyn Clock>) -> Result<ClientConfig> {
    let verifier = LinkVerifier::new(Arc::clone(&identity), provider());
    let builder = verified_by(Arc::new(verifier), clock)?;
    Ok(finish(
        builder.with_client_cert_resolver(identity),
        &[Alpn::Link],
    ))
}

/// A host's side of its first contact: it has no certificate yet, and knows the authority by the
/// fingerprint in its enrolment token.
///
/// # Errors
/// [`crate::ErrorKind::Crypto`].
pub fn enrol_config(authority: Fingerprint, clock: Arc<dyn Clock>) -> Result<ClientConfig> {
    let verifier = PinVerifier::new(authority, Pinned::Service, provider());
    let builder = verified_by(Arc::new(verifier), clock)?;
    Ok(finish(builder.with_no_client_auth(), &[Alpn::Enrol]))
}

/// By what a client of the API knows the server.
#[derive(Debug, Clone)]
pub enum ApiTrust {
    /// Authorities' certificates, as `ca.crt` of the service.
    Authorities(Trust),
    /// The authorities of the system.
    System,
    /// The fingerprint of an authority's key, or of the server's own.
    Fingerprint(Fingerprint),
}

/// The side of a client of the API. The server's name must be in its certificate, unless it is the
/// server's own key that the fingerprint is of.
///
/// Reads the system's authorities from files when they are asked for.
///
/// # Errors
/// [`crate::ErrorKind::Crypto`], also when the system has no authorities.
pub fn api_client_config(trust: &ApiTrust, clock: Arc<dyn Clock>) -> Result<ClientConfig> {
    let verifier: Arc<dyn ServerCertVerifier> = match trust {
        ApiTrust::Authorities(trust) => {
            let roots = Arc::clone(trust.roots());
            let built = WebPkiServerVerifier::builder_with_provider(roots, provider()).build();
            built.map_err(|error| Error::crypto("servers cannot be verified", error))?
        }
        ApiTrust::System => {
            let made = rustls_platform_verifier::Verifier::new(provider());
            Arc::new(made.map_err(|error| {
                Error::crypto("the system's certificate authorities cannot be used", error)
            })?)
        }
        ApiTrust::Fingerprint(print) => {
            Arc::new(PinVerifier::new(*print, Pinned::Named, provider()))
        }
    };
    let builder = verified_by(verifier, clock)?;
    Ok(finish(
        builder.with_no_client_auth(),
        &[Alpn::Http2, Alpn::Http1],
    ))
}

/// The side of somebody who wants to know whose fingerprint a server shows, and trusts nobody yet: the
/// handshake fails in any case, before anything is sent, and what was shown can be asked for then.
///
/// # Errors
/// [`crate::ErrorKind::Crypto`].
pub fn look_config(clock: Arc<dyn Clock>) -> Result<(ClientConfig, Shown)> {
    let shown = Shown::default();
    let verifier = LookVerifier::new(shown.clone(), provider());
    let builder = verified_by(Arc::new(verifier), clock)?;
    let config = finish(builder.with_no_client_auth(), &[Alpn::Http2, Alpn::Http1]);
    Ok((config, shown))
}

type Builder = ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>;

fn verified_by(verifier: Arc<dyn ServerCertVerifier>, clock: Arc<dyn Clock>) -> Result<Builder> {
    let builder: ConfigBuilder<ClientConfig, WantsVerifier> =
        ClientConfig::builder_with_details(provider(), Arc::new(TlsClock(clock)))
            .with_protocol_versions(&[&TLS13])
            .map_err(unfit)?;
    // "Dangerous" is what rustls calls every verifier that is not its own: see `verify`.
    Ok(builder
        .dangerous()
        .with_custom_certificate_verifier(verifier))
}

fn finish(mut config: ClientConfig, alpn: &[Alpn]) -> ClientConfig {
    config.alpn_protocols = ids(alpn);
    config.resumption = Resumption::disabled();
    config
}

fn ids(alpn: &[Alpn]) -> Vec<Vec<u8>> {
    alpn.iter().map(|alpn| alpn.id().to_vec()).collect()
}

fn unfit(error: rustls::Error) -> Error {
    Error::crypto("TLS 1.3 cannot be used", error)
}
