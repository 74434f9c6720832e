//! The service's own certificate authority: a key and a certificate in a directory.
//!
//! # Ordering
//! The key is published first, by a link that only one can win; then the certificate, which is made
//! from the key alone (its subject is the key's fingerprint). So two processes that start at once
//! end with one key, and a crash between the two files is completed by the next start.

mod names;
mod sign;
mod trust;

use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, PublicKeyData as _,
};
use rustls::pki_types::CertificateDer;
use zeroize::Zeroize as _;

use crate::{
    Error, ErrorKind, Fingerprint, Result,
    certificate::{self, Facts, end_of_time, is_self_signed, rcgen_time},
    files::{self, Published, Secrecy},
};

pub use names::{Names, NamesError};
#[cfg(feature = "fuzzing")]
pub use sign::request_is_good;
pub use sign::{Issued, MAX_REQUEST, RequestError};
pub use trust::Trust;

const KEY: &str = "ca.key";
const CERTIFICATE: &str = "ca.crt";
const TRUSTED: &str = "trusted.crt";

/// Ten years: longer than the service's machine, shorter than trust in P-256.
const LIFETIME: SignedDuration = SignedDuration::from_hours(10 * 365 * 24);

/// Every certificate is valid from this long before it was made: clocks differ.
pub(crate) const SKEW: SignedDuration = SignedDuration::from_hours(1);

/// A key pair that is wiped when it goes.
pub(crate) struct Key(pub(crate) KeyPair);

impl Key {
    /// A new one: ECDSA, P-256.
    pub(crate) fn generate() -> Result<Self> {
        let key = KeyPair::generate();
        key.map(Self)
            .map_err(|error| Error::crypto("a key pair cannot be made", error))
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// The authority, with its private key. Only the service has it.
pub struct Authority {
    key: Key,
    certificate: CertificateDer<'static>,
    until: Timestamp,
    trust: Trust,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority")
            .field("fingerprint", &self.fingerprint())
            .field("until", &self.until)
            .finish_non_exhaustive()
    }
}

impl Authority {
    /// Loads the authority in a directory, or makes it where there is none. Of several processes
    /// that do so at once all get the same one.
    ///
    /// `only` bounds the names that its server certificates may carry (RFC 5280, 4.2.1.10), for an
    /// authority that is to be put among a browser's: DNS names with all below them, and addresses.
    /// Empty, it is not bounded: the service's names change, and Tresor's own clients trust the
    /// authority for Tresor alone. It counts only when the authority is made.
    ///
    /// # Errors
    /// As [`Authority::open`], and [`ErrorKind::Unwritable`].
    pub fn open_or_create(dir: &Path, only: &Names, now: Timestamp) -> Result<Self> {
        files::make_dir(dir)?;
        let (key_path, path) = (dir.join(KEY), dir.join(CERTIFICATE));
        let key = match files::read(&key_path, Secrecy::Private) {
            Ok(pem) => parse_key(&key_path, &pem)?,
            Err(error) if error.kind() == ErrorKind::Missing && !path.exists() => {
                create_key(&key_path)?
            }
            // Another process may have made both since we looked for the key.
            Err(error) if error.kind() == ErrorKind::Missing => {
                let pem = files::read(&key_path, Secrecy::Private).map_err(key_missing)?;
                parse_key(&key_path, &pem)?
            }
            Err(error) => return Err(error),
        };
        if !path.exists() {
            let made = self_signed(&key, only, now)?;
            let pem = certificate::to_pem([&made]);
            files::publish_new(&path, pem.as_bytes(), Secrecy::Public)?;
        }
        Self::load(dir, key, now)
    }

    /// Loads the authority in a directory.
    ///
    /// # Errors
    /// Each with its file: [`ErrorKind::Missing`], [`ErrorKind::Unreadable`],
    /// [`ErrorKind::ReadableByOthers`], [`ErrorKind::Damaged`], [`ErrorKind::KeyMissing`],
    /// [`ErrorKind::KeyMismatch`], [`ErrorKind::Expired`].
    pub fn open(dir: &Path, now: Timestamp) -> Result<Self> {
        let key_path = dir.join(KEY);
        let read = files::read(&key_path, Secrecy::Private);
        let pem = read.map_err(|error| match dir.join(CERTIFICATE).exists() {
            true => key_missing(error),
            false => error,
        })?;
        Self::load(dir, parse_key(&key_path, &pem)?, now)
    }

    fn load(dir: &Path, key: Key, now: Timestamp) -> Result<Self> {
        let path = dir.join(CERTIFICATE);
        let damaged = |what: String| Error::new(ErrorKind::Damaged, &path, what);
        let pem = files::read(&path, Secrecy::Public)?;
        let certificates = certificate::certificates(&pem).map_err(damaged)?;
        let [certificate] = certificates.as_slice() else {
            return Err(damaged("holds more than one certificate".to_owned()));
        };
        let facts = Facts::read(certificate).filter(|facts| facts.is_authority);
        let facts =
            facts.ok_or_else(|| damaged("is not the certificate of an authority".to_owned()))?;
        let of_key = Fingerprint::of_public_key(&key.0.subject_public_key_info());
        if facts.fingerprint != of_key {
            let what = format!("is of another key than {KEY} beside it");
            return Err(Error::new(ErrorKind::KeyMismatch, &path, what));
        }
        if !is_self_signed(certificate) {
            return Err(damaged("is not signed by its own key".to_owned()));
        }
        if now > facts.not_after {
            let what = format!("ended at {}", facts.not_after);
            return Err(Error::new(ErrorKind::Expired, &path, what));
        }
        let trust = Trust::load(certificate.clone(), &dir.join(TRUSTED))?;
        Ok(Self {
            key,
            certificate: certificate.clone(),
            until: facts.not_after,
            trust,
        })
    }

    /// What enrolment tokens and people name it by.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of_public_key(&self.key.0.subject_public_key_info())
    }

    /// When its certificate ends.
    #[must_use]
    pub const fn until(&self) -> Timestamp {
        self.until
    }

    /// Whose certificates are taken: its own, and those of the authorities in `trusted.crt`.
    #[must_use]
    pub const fn trust(&self) -> &Trust {
        &self.trust
    }

    /// Its certificate.
    #[must_use]
    pub const fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }
}

fn create_key(path: &Path) -> Result<Key> {
    let key = Key::generate()?;
    let pem = certificate::key_to_pem(&key.0);
    match files::publish_new(path, pem.as_bytes(), Secrecy::Private)? {
        Published::Ours => Ok(key),
        Published::Theirs => parse_key(path, &files::read(path, Secrecy::Private)?),
    }
}

pub(crate) fn parse_key(path: &Path, pem: &[u8]) -> Result<Key> {
    let damaged = |what: String| Error::new(ErrorKind::Damaged, path, what);
    let der = certificate::private_key(pem).map_err(damaged)?;
    let key = KeyPair::try_from(&der);
    key.map(Key).map_err(|error| {
        let what = "holds a private key that cannot be used";
        Error::new(ErrorKind::Damaged, path, what).caused_by(error)
    })
}

/// A certificate without its key: a new key would shut out every host, so nothing is made.
fn key_missing(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Missing => {
            let what = format!("is missing, while {CERTIFICATE} is there");
            Error::new(ErrorKind::KeyMissing, Path::new(error.path()), what).caused_by(error)
        }
        _ => error,
    }
}

fn self_signed(key: &Key, only: &Names, now: Timestamp) -> Result<CertificateDer<'static>> {
    let mut params = CertificateParams::default();
    let fingerprint = Fingerprint::of_public_key(&key.0.subject_public_key_info());
    let digits = fingerprint.to_string();
    let name = format!("Tresor authority {}", &digits["sha256:".len()..][..16]);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = rcgen_time(epoch, later(now, -SKEW));
    params.not_after = rcgen_time(epoch, later(now, LIFETIME));
    params.serial_number = Some(sign::random_serial()?.as_bytes()[..].to_vec().into());
    // It signs hosts and servers, no further authorities, and nothing that is not TLS.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params.name_constraints = only.constraints();
    let made = params.self_signed(&key.0);
    made.map(Into::into)
        .map_err(|error| Error::crypto("the authority's certificate cannot be made", error))
}

/// A time further on, at most the last that a certificate can name.
pub(crate) fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by)
        .unwrap_or(end_of_time())
        .min(end_of_time())
}
