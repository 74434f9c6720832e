//! Who is at the other end of a connection, by the certificate that the handshake has verified.

use std::{fmt, str::FromStr};

use async_trait::async_trait;
use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use tresor_model::HostId;

use crate::certificate::{Facts, HOST_URI};

/// A certificate's serial number: 128 random bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial([u8; 16]);

/// A text that is no serial number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a serial number is 32 hexadecimal digits")]
pub struct SerialError;

impl Serial {
    /// Takes one that was read elsewhere.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes, most significant first.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// From the bytes of a DER integer, which has a zero in front when it would look negative, and
    /// none otherwise. `None` when it is negative or longer than ours are.
    pub(crate) fn from_der_integer(bytes: &[u8]) -> Option<Self> {
        if bytes.first()? & 0x80 != 0 {
            return None;
        }
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        let digits = &bytes[zeros..];
        let start = 16_usize.checked_sub(digits.len())?;
        let mut serial = [0; 16];
        serial[start..].copy_from_slice(digits);
        Some(Self(serial))
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Serial {
    type Err = SerialError;
    fn from_str(text: &str) -> Result<Self, SerialError> {
        let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u128::from_str_radix(text, 16).ok().filter(|_| digits);
        number
            .map(|number| Self(number.to_be_bytes()))
            .ok_or(SerialError)
    }
}

/// Who is at the other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// Nobody that a certificate names: an API user, who shows a token, or a host before enrolment.
    Anonymous,
    /// A host.
    Host(HostPeer),
}

/// A host, by its certificate. Whether it is still welcome is another question: [`HostPeer::admit`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPeer {
    /// Which host.
    pub id: HostId,
    /// The certificate's serial number.
    pub serial: Serial,
    /// When its certificate ends. A connection must not outlive it: a host renews long before, and
    /// connects anew with what it got.
    pub until: Timestamp,
}

/// Why a certificate names nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerError {
    /// It is no certificate.
    #[error("the certificate cannot be read")]
    Unreadable,
    /// It is not a host's: it has no name `urn:tresor:host:…`, or more names than that.
    #[error("the certificate is not a host's")]
    NotAHost,
    /// The host's id in it is none.
    #[error("the certificate's host id is no UUID")]
    BadId,
    /// The serial number is negative or longer than 128 bits: not one of ours.
    #[error("the certificate's serial number is not one of ours")]
    BadSerial,
}

impl Peer {
    /// Reads who it is from the certificates that came in a handshake, the peer's own first.
    ///
    /// It verifies nothing: [`crate::server_config`] has seen to it that what comes here chains to
    /// the authority, is for clients and is of this time.
    ///
    /// # Errors
    /// [`PeerError`]. Such a connection is ended, not treated as anonymous.
    pub fn of(certificates: Option<&[CertificateDer<'_>]>) -> Result<Self, PeerError> {
        match certificates.and_then(<[_]>::first) {
            Some(certificate) => HostPeer::of(certificate).map(Self::Host),
            None => Ok(Self::Anonymous),
        }
    }
}

impl HostPeer {
    /// The host that a certificate (DER) names.
    ///
    /// # Errors
    /// [`PeerError`].
    pub fn of(certificate: &[u8]) -> Result<Self, PeerError> {
        let facts = Facts::read(certificate).ok_or(PeerError::Unreadable)?;
        let [uri] = facts.uris.as_slice() else {
            return Err(PeerError::NotAHost);
        };
        let id = uri.strip_prefix(HOST_URI).ok_or(PeerError::NotAHost)?;
        let host: HostId = id.parse().map_err(|_| PeerError::BadId)?;
        // One text an id: `{…}`, capital letters and the like are not what we sign.
        if host.to_string() != id {
            return Err(PeerError::BadId);
        }
        Ok(Self {
            id: host,
            serial: facts.serial.ok_or(PeerError::BadSerial)?,
            until: facts.not_after,
        })
    }

    /// Whether it is the host it says it is in a greeting.
    ///
    /// # Errors
    /// [`AdmitError::AnotherHost`].
    pub fn claims(&self, claimed: HostId) -> Result<(), AdmitError> {
        if claimed == self.id {
            return Ok(());
        }
        Err(AdmitError::AnotherHost {
            claimed,
            actual: self.id,
        })
    }

    /// Whether the host may come in now. Nothing is served before this; when the roll cannot be
    /// asked, nobody comes in.
    ///
    /// # Errors
    /// [`AdmitError`].
    pub async fn admit(&self, roll: &dyn Roll, now: Timestamp) -> Result<(), AdmitError> {
        let host = self.id;
        if now > self.until {
            return Err(AdmitError::Expired {
                host,
                until: self.until,
            });
        }
        match roll.standing(host, &self.serial).await {
            Ok(Standing::Enrolled) => Ok(()),
            Ok(Standing::Replaced) => Err(AdmitError::Replaced { host }),
            Ok(Standing::Revoked) => Err(AdmitError::Revoked { host }),
            Ok(Standing::Unknown) => Err(AdmitError::Unknown { host }),
            Err(source) => Err(AdmitError::RollUnusable { source }),
        }
    }
}

/// How the service knows a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is enrolled.
    Enrolled,
    /// It is, with another certificate: this one was replaced.
    Replaced,
    /// It was, and was shut out.
    Revoked,
    /// It is not known: removed, or the catalog is another one.
    Unknown,
}

/// The roll of hosts: the caller's, who has a catalog.
#[async_trait]
pub trait Roll: Send + Sync {
    /// How this host stands, with this certificate.
    ///
    /// # Errors
    /// When the roll cannot be read.
    async fn standing(
        &self,
        host: HostId,
        serial: &Serial,
    ) -> Result<Standing, Box<dyn std::error::Error + Send + Sync>>;
}

/// Why a host that has a good certificate does not come in.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdmitError {
    /// It has got another certificate since.
    #[error("host {host} shows a certificate that was replaced by another one")]
    Replaced {
        /// The host.
        host: HostId,
    },
    /// It was shut out.
    #[error("host {host} was revoked")]
    Revoked {
        /// The host.
        host: HostId,
    },
    /// Nobody knows it.
    #[error("host {host} is not known here")]
    Unknown {
        /// The host.
        host: HostId,
    },
    /// It says it is another host than its certificate is for.
    #[error("it says to be host {claimed}, and its certificate is for host {actual}")]
    AnotherHost {
        /// What it said.
        claimed: HostId,
        /// What its certificate says.
        actual: HostId,
    },
    /// Its certificate ended since the handshake.
    #[error("the certificate of host {host} ended at {until}")]
    Expired {
        /// The host.
        host: HostId,
        /// When.
        until: Timestamp,
    },
    /// The roll could not be asked.
    #[error("the roll of hosts cannot be read")]
    RollUnusable {
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serial_numbers_come_back_from_der_whatever_they_begin_with() {
        for first in [
            [0x00, 0x00],
            [0x00, 0x80],
            [0x7f, 0xff],
            [0x80, 0x00],
            [0xff, 0xff],
        ] {
            let mut bytes = [7; 16];
            bytes[..2].copy_from_slice(&first);
            let mut der: Vec<u8> = bytes
                .iter()
                .copied()
                .skip_while(|byte| *byte == 0)
                .collect();
            if der[0] & 0x80 != 0 {
                der.insert(0, 0);
            }
            assert_eq!(Serial::from_der_integer(&der), Some(Serial(bytes)));
            let text = Serial(bytes).to_string();
            assert_eq!(text.parse(), Ok(Serial(bytes)));
        }
        assert_eq!(Serial::from_der_integer(&[0]), Some(Serial([0; 16])));
        for der in [&[][..], &[0x80], &[1; 17]] {
            assert_eq!(Serial::from_der_integer(der), None, "{der:?}");
        }
        for text in [
            "",
            "00",
            "+0000000000000000000000000000000",
            &"g".repeat(32),
        ] {
            assert_eq!(text.parse::<Serial>(), Err(SerialError), "{text}");
        }
    }

    #[test]
    fn garbage_names_nobody() {
        assert_eq!(Peer::of(None), Ok(Peer::Anonymous));
        assert_eq!(Peer::of(Some(&[])), Ok(Peer::Anonymous));
        let garbage = CertificateDer::from(vec![0x30, 0x03, 1, 2, 3]);
        assert_eq!(Peer::of(Some(&[garbage])), Err(PeerError::Unreadable));
    }
}
