//! A key's fingerprint: what people and tokens name an authority by.

use std::{fmt, str::FromStr};

use aws_lc_rs::digest::{SHA256, digest};

/// SHA-256 of a certificate's `SubjectPublicKeyInfo` (as in RFC 7469, "pin-sha256").
///
/// It names the key, not the certificate: an authority whose certificate is made anew keeps it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

/// A text that is no fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no fingerprint: `sha256:` and 64 hexadecimal digits")]
pub struct FingerprintError {
    text: String,
}

impl Fingerprint {
    /// Of a `SubjectPublicKeyInfo` in DER.
    #[must_use]
    pub fn of_public_key(spki: &[u8]) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, spki).as_ref());
        Self(bytes)
    }

    /// Takes one that was read elsewhere.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    /// Takes what [`fmt::Display`] writes; letters of either case, colons between the digits allowed.
    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let parse = || {
            let trimmed = text.trim();
            let digits = trimmed.strip_prefix("sha256:").unwrap_or(trimmed);
            let digits: Vec<u8> = digits
                .bytes()
                .filter(|byte| *byte != b':')
                .take(65)
                .collect();
            crate::token::hex_32(&digits)
        };
        parse().map(Self).ok_or_else(|| FingerprintError {
            text: text.chars().take(80).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_text_is_read_again_and_nothing_else_is() {
        let print = Fingerprint::of_public_key(b"key");
        assert_eq!(print.to_string().parse(), Ok(print));
        let bare = print.to_string().replace("sha256:", "").to_uppercase();
        assert_eq!(bare.parse(), Ok(print));
        for text in [
            "",
            "sha256:",
            "sha256:00",
            &format!("{bare}0"),
            &"g".repeat(64),
            "é",
        ] {
            assert!(text.parse::<Fingerprint>().is_err(), "{text}");
        }
    }
}
