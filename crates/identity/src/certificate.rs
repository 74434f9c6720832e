//! What a certificate says, read from its DER; PEM in and out.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::{Timestamp, civil::date, tz::TimeZone};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject as _};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};
use zeroize::Zeroizing;

use crate::{Fingerprint, Serial};

/// What a server certificate of the authority carries, beside the names it is reached by.
pub(crate) const SERVICE_URI: &str = "urn:tresor:service";
/// What a host's certificate carries, with the host's id behind it.
pub(crate) const HOST_URI: &str = "urn:tresor:host:";

/// A file holds no more certificates than this.
const MAX_CERTIFICATES: usize = 32;

/// What we need to know of a certificate. Reading it verifies nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) serial: Option<Serial>,
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
    /// All subject alternative names of the kind URI.
    pub(crate) uris: Vec<String>,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) is_authority: bool,
}

impl Facts {
    /// Of a certificate in DER; `None` when it is none.
    pub(crate) fn read(der: &[u8]) -> Option<Self> {
        let (rest, x509) = X509Certificate::from_der(der).ok()?;
        if !rest.is_empty() {
            return None;
        }
        let names = x509.subject_alternative_name().ok()?;
        let names = names.map_or(&[][..], |names| &names.value.general_names);
        let uris = names.iter().filter_map(|name| match name {
            GeneralName::URI(uri) => Some((*uri).to_owned()),
            _ => None,
        });
        let validity = x509.validity();
        Some(Self {
            serial: Serial::from_der_integer(x509.raw_serial()),
            not_before: Timestamp::from_second(validity.not_before.timestamp()).ok()?,
            not_after: Timestamp::from_second(validity.not_after.timestamp()).ok()?,
            uris: uris.collect(),
            fingerprint: Fingerprint::of_public_key(x509.public_key().raw),
            is_authority: x509.is_ca(),
        })
    }

    /// Whether it is the service's own, by what it says.
    pub(crate) fn is_service(&self) -> bool {
        self.uris.iter().any(|uri| uri == SERVICE_URI)
    }
}

/// Whether a certificate is signed by the key that is in it.
pub(crate) fn is_self_signed(der: &[u8]) -> bool {
    X509Certificate::from_der(der).is_ok_and(|(_, x509)| {
        x509.subject() == x509.issuer() && x509.verify_signature(None).is_ok()
    })
}

/// When two thirds of a certificate's time are over: it is made anew from then on.
pub(crate) fn two_thirds(not_before: Timestamp, not_after: Timestamp) -> Timestamp {
    let seconds = not_after.as_second().saturating_sub(not_before.as_second());
    // Between the two, so it is a time.
    Timestamp::from_second(not_before.as_second() + seconds / 3 * 2).unwrap_or(not_after)
}

/// A time as rcgen takes it.
pub(crate) fn rcgen_time<T>(epoch: T, at: Timestamp) -> T
where
    T: std::ops::Add<std::time::Duration, Output = T>,
{
    let seconds = u64::try_from(at.as_second()).unwrap_or(0);
    epoch + std::time::Duration::from_secs(seconds)
}

/// The last moment a certificate can name with four digits for the year (RFC 5280, 4.1.2.5).
pub(crate) fn end_of_time() -> Timestamp {
    let last = date(9999, 12, 31).at(23, 59, 59, 0);
    let last = TimeZone::UTC.to_timestamp(last);
    last.unwrap_or(Timestamp::MAX)
}

/// All certificates in a PEM text, in order; what else is in it is passed over.
///
/// # Errors
/// In words: no PEM, no certificate, too many of them.
pub(crate) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let mut found = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| format!("is no PEM text ({error})"))?;
        if Facts::read(&certificate).is_none() {
            return Err(format!("certificate {} in it is damaged", found.len() + 1));
        }
        found.push(certificate);
        if found.len() > MAX_CERTIFICATES {
            return Err(format!("holds more than {MAX_CERTIFICATES} certificates"));
        }
    }
    match found.is_empty() {
        true => Err("holds no certificate".to_owned()),
        false => Ok(found),
    }
}

/// The private key in a PEM text.
///
/// # Errors
/// In words.
pub(crate) fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| format!("holds no private key ({error})"))
}

/// A key of ours as rustls takes it.
pub(crate) fn pkcs8(key: &rcgen::KeyPair) -> PrivateKeyDer<'static> {
    PrivatePkcs8KeyDer::from(key.serialized_der().to_vec()).into()
}

/// Certificates as PEM, in order.
pub(crate) fn to_pem<'a>(certificates: impl IntoIterator<Item = &'a CertificateDer<'a>>) -> String {
    let mut text = String::new();
    for certificate in certificates {
        text.push_str(&armour("CERTIFICATE", certificate));
    }
    text
}

/// A key of ours as PEM.
pub(crate) fn key_to_pem(key: &rcgen::KeyPair) -> Zeroizing<String> {
    Zeroizing::new(armour("PRIVATE KEY", key.serialized_der()))
}

/// RFC 7468: 64 characters a line. The room is taken at once, so that no copy of a key is left.
fn armour(label: &str, der: &[u8]) -> String {
    let body = Zeroizing::new(STANDARD.encode(der));
    let mut text = String::with_capacity(body.len() + body.len() / 64 + 2 * label.len() + 64);
    text.push_str(&format!("-----BEGIN {label}-----\n"));
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = more;
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}
