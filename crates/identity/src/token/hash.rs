//! What is stored of a token.

use std::{fmt, str::FromStr};

use zeroize::Zeroize as _;

/// A token's hash: BLAKE3 with a context of its own for each kind of token. Compared in constant
/// time, though a hash tells nobody the token.
#[derive(Clone, Copy)]
pub struct TokenHash(blake3::Hash);

/// A text that is no hash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a token's hash is 64 hexadecimal digits")]
pub struct TokenHashError;

impl TokenHash {
    pub(super) fn of(context: &str, parts: &[&[u8]]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(context);
        for part in parts {
            hasher.update(part);
        }
        let hash = hasher.finalize();
        hasher.zeroize();
        Self(hash)
    }

    /// Its bytes, as they are stored.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// Takes what was stored.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(blake3::Hash::from_bytes(bytes))
    }
}

impl PartialEq for TokenHash {
    fn eq(&self, other: &Self) -> bool {
        // blake3 compares its hashes in constant time.
        self.0 == other.0
    }
}

impl Eq for TokenHash {}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_hex())
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for TokenHash {
    type Err = TokenHashError;
    fn from_str(text: &str) -> Result<Self, TokenHashError> {
        let bytes = hex_32(text.as_bytes()).ok_or(TokenHashError)?;
        Ok(Self::from_bytes(bytes))
    }
}

/// 32 bytes from exactly 64 hexadecimal digits.
pub(crate) fn hex_32(digits: &[u8]) -> Option<[u8; 32]> {
    let (pairs, rest) = digits.as_chunks::<2>();
    if pairs.len() != 32 || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = nibble(*high)? << 4 | nibble(*low)?;
    }
    Some(bytes)
}

fn nibble(digit: u8) -> Option<u8> {
    let value = char::from(digit).to_digit(16)?;
    u8::try_from(value).ok()
}
