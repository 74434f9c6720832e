//! What the authority signs: hosts' requests, and the service's own server certificates.

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PublicKeyData, SanType,
};
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer};
use tresor_model::HostId;

use super::{Authority, Names, SKEW, later};
use crate::{
    Error, Serial,
    certificate::{self, HOST_URI, SERVICE_URI, rcgen_time},
};

/// A larger signing request is refused unread. Ours has some 250 bytes.
pub const MAX_REQUEST: usize = 8 << 10;

/// A host's certificate: a day. It renews after 16 hours, so a service that is away for a working
/// day costs nobody an enrolment.
const HOST_LIFETIME: SignedDuration = SignedDuration::from_hours(24);
/// A server's certificate: made anew by the service itself, its key is never on a disk.
const SERVER_LIFETIME: SignedDuration = SignedDuration::from_hours(7 * 24);

/// A host's certificate, as the host gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// The certificate.
    pub certificate: CertificateDer<'static>,
    /// All authorities that are trusted, so that hosts know a new one before it is used.
    pub authorities: Vec<CertificateDer<'static>>,
    /// Its serial number.
    pub serial: Serial,
    /// When it ends.
    pub until: Timestamp,
}

impl Issued {
    /// As PEM: the certificate, then the authorities.
    #[must_use]
    pub fn to_pem(&self) -> String {
        certificate::to_pem(std::iter::once(&self.certificate).chain(&self.authorities))
    }
}

/// Why a signing request was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// It is larger than [`MAX_REQUEST`].
    #[error("the signing request is larger than {MAX_REQUEST} bytes")]
    TooLarge,
    /// It is no signing request (PKCS #10, DER), or asks for what we do not know.
    #[error("the signing request cannot be read")]
    Unreadable {
        /// What the library says.
        source: rcgen::Error,
    },
    /// It is not signed by the key that it is for: whoever sent it may not have that key.
    #[error("the signing request is not signed by its own key")]
    BadSignature,
    /// The key is of a kind we do not sign.
    #[error("the signing request's key is of a kind that is not taken: use ECDSA P-256")]
    KeyKind,
    /// Signing failed.
    #[error("the certificate cannot be made")]
    Signing(#[source] Error),
}

impl Authority {
    /// Signs a host's request (PKCS #10, DER): its key, for this id, for a day. Nothing else in the
    /// request counts; who may ask for which id is the caller's to decide.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn sign_host(
        &self,
        host: HostId,
        request: &[u8],
        now: Timestamp,
    ) -> Result<Issued, RequestError> {
        let request = read_request(request)?;
        let names = format!("{HOST_URI}{host}").try_into().map(SanType::URI);
        let names = vec![names.map_err(|source| RequestError::Unreadable { source })?];
        let template = Template {
            common_name: format!("Tresor host {host}"),
            names,
            usage: ExtendedKeyUsagePurpose::ClientAuth,
            lifetime: HOST_LIFETIME,
        };
        let signed = self.sign(template, &request.public_key, now);
        let (certificate, serial, until) = signed.map_err(RequestError::Signing)?;
        Ok(Issued {
            certificate,
            authorities: self.trust.certificates().to_vec(),
            serial,
            until,
        })
    }

    /// A server certificate for a key of the service.
    pub(crate) fn sign_server(
        &self,
        names: &Names,
        key: &impl PublicKeyData,
        now: Timestamp,
    ) -> Result<(CertificateDer<'static>, Timestamp), Error> {
        let subject_names = || {
            let mut all = names.subject_names()?;
            all.push(SanType::URI(SERVICE_URI.try_into()?));
            Ok(all)
        };
        let names = subject_names().map_err(|error: rcgen::Error| {
            Error::crypto("the server's names fit in no certificate", error)
        })?;
        let template = Template {
            common_name: "Tresor service".to_owned(),
            names,
            usage: ExtendedKeyUsagePurpose::ServerAuth,
            lifetime: SERVER_LIFETIME,
        };
        let (certificate, _, until) = self.sign(template, key, now)?;
        Ok((certificate, until))
    }

    fn sign(
        &self,
        template: Template,
        key: &impl PublicKeyData,
        now: Timestamp,
    ) -> Result<(CertificateDer<'static>, Serial, Timestamp), Error> {
        let refused = |error: rcgen::Error| Error::crypto("a certificate cannot be made", error);
        let serial = random_serial()?;
        // To the second, as it stands in the certificate; never longer than the authority itself.
        let until = later(now, template.lifetime).min(self.until);
        let until = Timestamp::from_second(until.as_second()).unwrap_or(until);
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, template.common_name);
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        params.not_before = rcgen_time(epoch, later(now, -SKEW));
        params.not_after = rcgen_time(epoch, until);
        params.serial_number = Some(serial.as_bytes()[..].to_vec().into());
        params.subject_alt_names = template.names;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![template.usage];
        params.use_authority_key_identifier_extension = true;
        let issuer = Issuer::from_ca_cert_der(&self.certificate, &self.key.0).map_err(refused)?;
        let signed = params.signed_by(key, &issuer).map_err(refused)?;
        Ok((signed.into(), serial, until))
    }
}

/// Reads a request and sees that it is signed by the key that it is for.
fn read_request(request: &[u8]) -> Result<CertificateSigningRequestParams, RequestError> {
    if request.len() > MAX_REQUEST {
        return Err(RequestError::TooLarge);
    }
    let request = CertificateSigningRequestDer::from(request);
    let request = CertificateSigningRequestParams::from_der(&request);
    let request = request.map_err(|source| match source {
        rcgen::Error::InvalidCertificationRequestSignature => RequestError::BadSignature,
        source => RequestError::Unreadable { source },
    })?;
    let taken = [
        &PKCS_ECDSA_P256_SHA256,
        &PKCS_ECDSA_P384_SHA384,
        &PKCS_ED25519,
    ];
    match taken.contains(&request.public_key.algorithm()) {
        true => Ok(request),
        false => Err(RequestError::KeyKind),
    }
}

/// For the fuzzer: whether a request would be signed.
#[cfg(feature = "fuzzing")]
#[must_use]
pub fn request_is_good(request: &[u8]) -> bool {
    read_request(request).is_ok()
}

/// What differs between hosts and servers.
struct Template {
    common_name: String,
    names: Vec<SanType>,
    usage: ExtendedKeyUsagePurpose,
    lifetime: SignedDuration,
}

pub(super) fn random_serial() -> Result<Serial, Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::crypto("the system gives no random numbers", error))?;
    Ok(Serial::from_bytes(bytes))
}
