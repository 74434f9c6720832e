//! The recovery key: 256 random bits that a person can write down.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::keys::Secret;

/// Letters and digits without those that look alike (I, L, O, U).
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const CHECK_CONTEXT: &str = "tresor vault 1 recovery key check";
/// 32 bytes of key and 3 of check are exactly 56 symbols of 5 bits.
const BYTES: usize = 35;
const SYMBOLS: usize = 56;
const PART: &str = "recovery key";

/// Opens a vault when everything else is lost. Shown once, never stored.
#[derive(Clone, PartialEq, Eq)]
pub struct RecoveryKey(Secret);

impl RecoveryKey {
    /// A key from fresh random bytes.
    #[must_use]
    pub const fn from_secret(secret: Secret) -> Self {
        Self(secret)
    }

    /// The secret bytes.
    #[must_use]
    pub const fn secret(&self) -> &Secret {
        &self.0
    }

    /// The text to write down: 14 groups of 4 symbols.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut bytes = [0; BYTES];
        bytes[..32].copy_from_slice(&self.0.0);
        bytes[32..].copy_from_slice(&check(&self.0));
        let mut text = String::with_capacity(SYMBOLS + SYMBOLS / 4);
        for symbol in 0..SYMBOLS {
            if symbol > 0 && symbol % 4 == 0 {
                text.push('-');
            }
            let value = (0..5).fold(0, |value, bit| {
                let at = symbol * 5 + bit;
                value << 1 | usize::from(bytes[at / 8] >> (7 - at % 8) & 1)
            });
            text.push(char::from(ALPHABET[value]));
        }
        text
    }
}

impl FromStr for RecoveryKey {
    type Err = Error;

    /// Takes the text with or without dashes and blanks, in any case, with O for 0 and I or L
    /// for 1.
    fn from_str(text: &str) -> Result<Self> {
        let mut bytes = [0_u8; BYTES];
        let mut symbols = 0;
        for letter in text.bytes().filter(|letter| !b"- \t\r\n".contains(letter)) {
            if symbols == SYMBOLS {
                return Err(Error::malformed(PART));
            }
            let value = symbol_value(letter).ok_or(Error::malformed(PART))?;
            for bit in 0..5 {
                let at = symbols * 5 + bit;
                bytes[at / 8] |= (value >> (4 - bit) & 1) << (7 - at % 8);
            }
            symbols += 1;
        }
        let mut secret = Secret([0; 32]);
        secret.0.copy_from_slice(&bytes[..32]);
        if symbols == SYMBOLS && bytes[32..] == check(&secret) {
            Ok(Self(secret))
        } else {
            Err(Error::malformed(PART))
        }
    }
}

fn symbol_value(letter: u8) -> Option<u8> {
    let letter = match letter.to_ascii_uppercase() {
        b'O' => b'0',
        b'I' | b'L' => b'1',
        other => other,
    };
    let at = ALPHABET.iter().position(|symbol| *symbol == letter)?;
    u8::try_from(at).ok()
}

/// Finds typing mistakes; 24 bits of a hash give nothing away.
fn check(secret: &Secret) -> [u8; 3] {
    let hash = blake3::derive_key(CHECK_CONTEXT, &secret.0);
    [hash[0], hash[1], hash[2]]
}

impl fmt::Debug for RecoveryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_read_back_as_people_type_it() {
        let key = RecoveryKey::from_secret(Secret(std::array::from_fn(|i| {
            u8::try_from(i * 7).unwrap()
        })));
        let text = key.to_text();
        assert_eq!(text.len(), 56 + 13);
        assert_eq!(text.parse::<RecoveryKey>().as_ref(), Ok(&key));
        let sloppy = text
            .to_lowercase()
            .replace('-', " ")
            .replace('0', "o")
            .replace('1', "l");
        assert_eq!(format!("{sloppy}\n").parse::<RecoveryKey>(), Ok(key));
    }

    #[test]
    fn one_wrong_symbol_is_noticed() {
        let text = RecoveryKey::from_secret(Secret([9; 32])).to_text();
        for at in (0..text.len()).filter(|at| text.as_bytes()[*at] != b'-') {
            let mut wrong = text.clone().into_bytes();
            wrong[at] = if wrong[at] == b'Z' { b'2' } else { b'Z' };
            let wrong = String::from_utf8(wrong).unwrap();
            assert!(wrong.parse::<RecoveryKey>().is_err(), "{wrong}");
        }
        assert!("".parse::<RecoveryKey>().is_err());
        assert!("é".parse::<RecoveryKey>().is_err());
        assert!(format!("{text}Z").parse::<RecoveryKey>().is_err());
    }
}
