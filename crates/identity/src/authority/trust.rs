//! Whose certificates are taken.

use std::{path::Path, sync::Arc};

use rustls::{RootCertStore, pki_types::CertificateDer};

use crate::{
    Error, ErrorKind, Fingerprint, Result,
    certificate::{self, Facts},
    files::{self, Secrecy},
};

/// The authorities whose certificates are taken, the current one first.
#[derive(Debug, Clone)]
pub struct Trust {
    authorities: Vec<CertificateDer<'static>>,
    roots: Arc<RootCertStore>,
}

impl Trust {
    /// Takes authorities' certificates from a PEM text.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`], with the name of the file that the text is from.
    pub fn from_pem(path: &Path, pem: &[u8]) -> Result<Self> {
        let damaged = |what: String| Error::new(ErrorKind::Damaged, path, what);
        let found = certificate::certificates(pem).map_err(damaged)?;
        Self::new(path, found)
    }

    /// Takes authorities' certificates from a file.
    ///
    /// # Errors
    /// [`ErrorKind::Missing`], [`ErrorKind::Unreadable`], [`ErrorKind::TooLarge`],
    /// [`ErrorKind::Damaged`].
    pub fn from_file(path: &Path) -> Result<Self> {
        Self::from_pem(path, &files::read(path, Secrecy::Public)?)
    }

    /// The authority's own certificate, and those in a file that need not be there.
    pub(super) fn load(own: CertificateDer<'static>, others: &Path) -> Result<Self> {
        let mut all = vec![own];
        match files::read(others, Secrecy::Public) {
            Ok(pem) => {
                let damaged = |what: String| Error::new(ErrorKind::Damaged, others, what);
                all.extend(certificate::certificates(&pem).map_err(damaged)?);
            }
            Err(error) if error.kind() == ErrorKind::Missing => {}
            Err(error) => return Err(error),
        }
        Self::new(others, all)
    }

    pub(crate) fn new(path: &Path, authorities: Vec<CertificateDer<'static>>) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in &authorities {
            let is_authority = Facts::read(certificate).is_some_and(|facts| facts.is_authority);
            let added = roots.add(certificate.clone());
            if !is_authority || added.is_err() {
                let what = "holds a certificate that is not an authority's";
                return Err(Error::new(ErrorKind::Damaged, path, what));
            }
        }
        Ok(Self {
            authorities,
            roots: Arc::new(roots),
        })
    }

    /// Their certificates.
    #[must_use]
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.authorities
    }

    /// Their fingerprints, in the same order.
    #[must_use]
    pub fn fingerprints(&self) -> Vec<Fingerprint> {
        let facts = self.authorities.iter().filter_map(|der| Facts::read(der));
        facts.map(|facts| facts.fingerprint).collect()
    }

    pub(crate) fn roots(&self) -> &Arc<RootCertStore> {
        &self.roots
    }
}
