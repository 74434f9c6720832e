//! A host's own identity: its key, its certificate, and the authorities it trusts.
//!
//! # After a crash
//! All three are one file, replaced as a whole: what is there always belongs together. A key whose
//! certificate was not stored is lost, and the token that was used for it with it.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use jiff::Timestamp;
use rcgen::{CertificateParams, DistinguishedName, PublicKeyData as _};
use rustls::{
    SignatureScheme, client::ResolvesClientCert, pki_types::CertificateDer, sign::CertifiedKey,
};
use tresor_model::HostId;
use zeroize::Zeroizing;

use crate::{
    Error, ErrorKind, Fingerprint, HostPeer, Result, Trust,
    authority::{Key, parse_key},
    certificate::{self, Facts, two_thirds},
    files::{self, Secrecy},
    tls,
};

/// A new key that waits for its certificate.
pub struct PendingHost {
    key: Key,
    request: Vec<u8>,
}

impl std::fmt::Debug for PendingHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PendingHost").finish_non_exhaustive()
    }
}

impl PendingHost {
    /// A new key: it never leaves this machine.
    ///
    /// # Errors
    /// [`ErrorKind::Crypto`].
    pub fn generate() -> Result<Self> {
        let key = Key::generate()?;
        let mut params = CertificateParams::default();
        // Who it is for is the authority's word: the request says nothing.
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(&key.0);
        let request = request
            .map_err(|error| Error::crypto("a certificate cannot be asked for", error))?
            .der()
            .to_vec();
        Ok(Self { key, request })
    }

    /// What the authority is to sign: PKCS #10, DER.
    #[must_use]
    pub fn request(&self) -> &[u8] {
        &self.request
    }

    /// Takes what came from the service in answer to an enrolment and keeps it in `path`. `pem` is
    /// what [`crate::Issued::to_pem`] gave; `authority` is the token's.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`] when it is not what was asked for, [`ErrorKind::KeyMismatch`] when
    /// it is for another key, [`ErrorKind::Unwritable`].
    pub fn enrol(self, path: &Path, pem: &[u8], authority: Fingerprint) -> Result<HostIdentity> {
        let current = self.check(path, pem)?;
        if !current.trust.fingerprints().contains(&authority) {
            let what = "the answer to the enrolment lacks the authority that the token names";
            return Err(Error::new(ErrorKind::Damaged, path, what));
        }
        self.store(path, &current)?;
        Ok(HostIdentity {
            path: path.to_owned(),
            current: RwLock::new(Arc::new(current)),
        })
    }

    fn check(&self, path: &Path, pem: &[u8]) -> Result<Current> {
        let damaged = |what: String| Error::new(ErrorKind::Damaged, path, what);
        let certificates = certificate::certificates(pem)
            .map_err(|what| damaged(format!("what the service answered {what}")))?;
        Current::new(path, &self.key, certificates)
    }

    fn store(&self, path: &Path, current: &Current) -> Result<()> {
        if let Some(dir) = path.parent() {
            files::make_dir(dir)?;
        }
        let key = certificate::key_to_pem(&self.key.0);
        let own = current.certified.cert.iter();
        let certificates = certificate::to_pem(own.chain(current.trust.certificates()));
        let mut text = Zeroizing::new(String::with_capacity(key.len() + certificates.len()));
        text.push_str(&key);
        text.push_str(&certificates);
        files::replace(path, text.as_bytes(), Secrecy::Private)
    }
}

/// What a file holds.
#[derive(Debug)]
struct Current {
    certified: Arc<CertifiedKey>,
    peer: HostPeer,
    not_before: Timestamp,
    trust: Trust,
}

impl Current {
    /// The certificate comes first, the authorities after it.
    fn new(path: &Path, key: &Key, mut certificates: Vec<CertificateDer<'static>>) -> Result<Self> {
        let damaged = |what: String| Error::new(ErrorKind::Damaged, path, what);
        let own = certificates.remove(0);
        let peer = HostPeer::of(&own).map_err(|error| {
            damaged("the first certificate is not a host's".to_owned()).caused_by(error)
        })?;
        let facts = Facts::read(&own);
        let facts = facts.ok_or_else(|| damaged("the certificate is damaged".to_owned()))?;
        if facts.fingerprint != Fingerprint::of_public_key(&key.0.subject_public_key_info()) {
            let what = "the certificate is for another key";
            return Err(Error::new(ErrorKind::KeyMismatch, path, what));
        }
        let trust = match certificates.is_empty() {
            true => return Err(damaged("no authority's certificate is in it".to_owned())),
            false => Trust::new(path, certificates)?,
        };
        let certified = tls::certified(vec![own], certificate::pkcs8(&key.0));
        let certified = certified
            .map_err(|error| damaged("the key cannot be used".to_owned()).caused_by(error))?;
        Ok(Self {
            certified: Arc::new(certified),
            peer,
            not_before: facts.not_before,
            trust,
        })
    }
}

/// A host that is enrolled. Connections made after a renewal use what came with it.
#[derive(Debug)]
pub struct HostIdentity {
    path: PathBuf,
    current: RwLock<Arc<Current>>,
}

impl HostIdentity {
    /// Loads what an enrolment or a renewal has stored. A certificate whose time is over is loaded
    /// as well: [`HostIdentity::until`] says so, and the service does.
    ///
    /// # Errors
    /// [`ErrorKind::Missing`] before enrolment; [`ErrorKind::Unreadable`],
    /// [`ErrorKind::ReadableByOthers`], [`ErrorKind::Damaged`], [`ErrorKind::KeyMismatch`].
    pub fn open(path: &Path) -> Result<Self> {
        let pem = files::read(path, Secrecy::Private)?;
        let key = parse_key(path, &pem)?;
        let damaged = |what: String| Error::new(ErrorKind::Damaged, path, what);
        let certificates = certificate::certificates(&pem).map_err(damaged)?;
        let current = Current::new(path, &key, certificates)?;
        Ok(Self {
            path: path.to_owned(),
            current: RwLock::new(Arc::new(current)),
        })
    }

    /// Takes what came from the service in answer to a renewal: for the new key, for this host.
    ///
    /// # Errors
    /// As [`PendingHost::enrol`]. What was there stays then.
    pub fn renewed(&self, pending: &PendingHost, pem: &[u8]) -> Result<()> {
        let next = pending.check(&self.path, pem)?;
        let (id, expected) = (next.peer.id, self.id());
        if id != expected {
            let what = format!("the renewed certificate is for host {id}, not {expected}");
            return Err(Error::new(ErrorKind::Damaged, &self.path, what));
        }
        pending.store(&self.path, &next)?;
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(next);
        Ok(())
    }

    /// Which host we are.
    #[must_use]
    pub fn id(&self) -> HostId {
        self.current().peer.id
    }

    /// What the service sees of us.
    #[must_use]
    pub fn peer(&self) -> HostPeer {
        self.current().peer.clone()
    }

    /// When our certificate ends.
    #[must_use]
    pub fn until(&self) -> Timestamp {
        self.current().peer.until
    }

    /// From when on a new certificate is asked for: two thirds of its time. The hour that it was
    /// dated back counts with it.
    #[must_use]
    pub fn renew_at(&self) -> Timestamp {
        let current = self.current();
        two_thirds(current.not_before, current.peer.until)
    }

    /// The authorities that we trust.
    #[must_use]
    pub fn trust(&self) -> Trust {
        self.current().trust.clone()
    }

    fn current(&self) -> Arc<Current> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&current)
    }
}

impl ResolvesClientCert for HostIdentity {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current().certified))
    }

    fn has_certs(&self) -> bool {
        true
    }
}
