//! Hashes of tokens. The tokens themselves never come here.

use std::{fmt, str::FromStr};

/// What is kept of a secret: a hash of 32 bytes, as 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SecretHash(String);

/// A text that is no such hash. It is not repeated: it may be the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a hash is 64 lower-case hexadecimal digits, and this is another text")]
pub struct SecretHashError;

impl SecretHash {
    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Enough of it to name it in a message.
    pub(crate) fn short(&self) -> &str {
        &self.0[..8]
    }
}

impl From<[u8; 32]> for SecretHash {
    fn from(bytes: [u8; 32]) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
        let digits = bytes
            .iter()
            .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]);
        Self(digits.collect())
    }
}

impl FromStr for SecretHash {
    type Err = SecretHashError;
    fn from_str(text: &str) -> Result<Self, SecretHashError> {
        let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 64 || !text.bytes().all(hex) {
            return Err(SecretHashError);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_its_digits() {
        let mut bytes = [0; 32];
        (bytes[0], bytes[31]) = (0xa5, 0x0f);
        let hash = SecretHash::from(bytes);
        assert_eq!(hash.as_str(), format!("a5{}0f", "0".repeat(60)));
        assert_eq!(hash.as_str().parse(), Ok(hash));
    }

    #[test]
    fn another_text_is_refused_and_not_repeated() {
        let digits = "a".repeat(64);
        for text in [
            "",
            &digits[1..],
            &"A".repeat(64),
            &"é".repeat(32),
            "tresor_secret",
        ] {
            let error = text.parse::<SecretHash>().unwrap_err();
            assert!(!error.to_string().contains("tresor_secret"));
        }
    }
}
