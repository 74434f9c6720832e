//! The certificates that the service shows.

mod given;
mod own;

use std::sync::Arc;

use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use crate::Alpn;

pub use given::GivenFiles;
pub use own::OwnCertificate;

/// Which certificate is shown to whom: hosts always see the authority's own, which is what they
/// trust whatever an administrator gives to browsers.
#[derive(Debug)]
pub struct ServerCertificates {
    own: OwnCertificate,
    given: Option<GivenFiles>,
}

impl ServerCertificates {
    /// The authority's own for everybody, or `given` for the API.
    #[must_use]
    pub const fn new(own: OwnCertificate, given: Option<GivenFiles>) -> Self {
        Self { own, given }
    }
}

impl ResolvesServerCert for ServerCertificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let for_hosts = hello
            .alpn()
            .is_some_and(|mut offered| offered.any(Alpn::is_for_hosts));
        match &self.given {
            Some(given) if !for_hosts => Some(given.current()),
            _ => self.own.current(),
        }
    }
}
