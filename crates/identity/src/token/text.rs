//! The texts of tokens: Crockford's base 32 (no `i`, `l`, `o`, `u`), which people can read out, with a
//! check over everything.

use zeroize::Zeroizing;

/// A longer text is refused unread.
pub const MAX_TOKEN: usize = 512;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Bytes of the check: a typing error goes unseen once in 2^40.
pub(super) const CHECK: usize = 5;

/// Why a text is no token. Nothing in here says what the token is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// It does not begin as such tokens do.
    #[error("it does not begin with `{prefix}`")]
    NotAToken {
        /// How they begin.
        prefix: &'static str,
    },
    /// It is of a version that this program does not know.
    #[error("it is of version `{found}`, which this program does not know")]
    VersionUnknown {
        /// Its version.
        found: String,
    },
    /// Something is missing.
    #[error("it is cut off: {found} of {expected} characters are there")]
    Truncated {
        /// How many characters there should be, white space apart.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// There is more than a token.
    #[error("it is too long: {found} characters instead of {expected}")]
    TooLong {
        /// How many characters there should be, white space apart.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// A character that is in no token.
    #[error("character {at}, `{character}`, cannot be in it")]
    BadCharacter {
        /// Which one, from 1, white space apart.
        at: usize,
        /// The character.
        character: char,
    },
    /// Every character could be, and together they are no token.
    #[error("its check does not fit: a character is wrong, or some are swapped")]
    Mistyped,
}

/// A text without its white space, which a mail or a terminal may have put in.
pub(super) fn compact(text: &str, expected: usize) -> Result<Zeroizing<String>, TokenError> {
    if text.len() > MAX_TOKEN {
        let found = text.chars().count();
        return Err(TokenError::TooLong { expected, found });
    }
    let mut compact = Zeroizing::new(String::with_capacity(text.len()));
    for character in text.chars().filter(|character| !character.is_whitespace()) {
        if !character.is_ascii_graphic() {
            let at = compact.len() + 1;
            return Err(TokenError::BadCharacter { at, character });
        }
        compact.push(character);
    }
    Ok(compact)
}

/// Refuses what is not as long as it must be.
pub(super) fn check_length(text: &str, expected: usize) -> Result<(), TokenError> {
    let found = text.len();
    match found.cmp(&expected) {
        std::cmp::Ordering::Less => Err(TokenError::Truncated { expected, found }),
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Greater => Err(TokenError::TooLong { expected, found }),
    }
}

/// The check over a token's parts.
pub(super) fn check(context: &str, parts: &[&[u8]]) -> [u8; CHECK] {
    let hash = super::TokenHash::of(context, parts);
    let mut check = [0; CHECK];
    check.copy_from_slice(&hash.as_bytes()[..CHECK]);
    check
}

/// Characters that `bytes` bytes take.
pub(super) const fn length(bytes: usize) -> usize {
    (bytes * 8).div_ceil(5)
}

/// Appends bytes as characters; the last one is filled up with zero bits.
pub(super) fn encode(bytes: &[u8], into: &mut String) {
    let (mut bits, mut count) = (0_u32, 0);
    for byte in bytes {
        bits = bits << 8 | u32::from(*byte);
        count += 8;
        while count >= 5 {
            count -= 5;
            into.push(digit(bits >> count));
        }
        bits &= (1 << count) - 1;
    }
    if count > 0 {
        into.push(digit(bits << (5 - count)));
    }
}

fn digit(bits: u32) -> char {
    char::from(ALPHABET[(bits & 31) as usize])
}

/// Reads exactly `N` bytes from as many characters as they take; `at` is where they begin in the token.
pub(super) fn decode<const N: usize>(
    text: &str,
    at: usize,
) -> Result<Zeroizing<[u8; N]>, TokenError> {
    check_length(text, length(N))?;
    let mut bytes = Zeroizing::new([0; N]);
    let (mut bits, mut count, mut next) = (0_u32, 0, 0);
    for (index, character) in text.chars().enumerate() {
        let value = value(character).ok_or(TokenError::BadCharacter {
            at: at + index + 1,
            character,
        })?;
        bits = bits << 5 | value;
        count += 5;
        if count >= 8 {
            count -= 8;
            let byte = bits >> count;
            bits &= (1 << count) - 1;
            // Five bits a character: no more bytes come out than were asked for.
            bytes[next] = byte.to_le_bytes()[0];
            next += 1;
        }
    }
    // One text for each token: what fills the last character up must be zero.
    match bits {
        0 => Ok(bytes),
        _ => Err(TokenError::Mistyped),
    }
}

/// As Crockford has it: letters of either case, `o` for 0, `i` and `l` for 1.
fn value(character: char) -> Option<u32> {
    let lower = match character.to_ascii_lowercase() {
        'o' => b'0',
        'i' | 'l' => b'1',
        other => u8::try_from(other).ok()?,
    };
    let position = ALPHABET.iter().position(|digit| *digit == lower)?;
    u32::try_from(position).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_32_is_crockfords() {
        let mut text = String::new();
        encode(
            b"\x00\x44\x32\x14\xc7\x42\x54\xb6\x35\xcf\x84\x65\x3a\x56\xd7\xc6\x75\xbe\x77\xdf",
            &mut text,
        );
        assert_eq!(text, "0123456789abcdefghjkmnpqrstvwxyz");
        let shouted = text.to_uppercase().replace('0', "O").replace('1', "L");
        let back = decode::<20>(&shouted, 0).unwrap();
        let mut again = String::new();
        encode(&*back, &mut again);
        assert_eq!(again, text);
    }

    #[test]
    fn what_fills_up_must_be_zero() {
        let mut text = String::new();
        encode(&[0xff], &mut text);
        assert_eq!(text, "zw");
        assert_eq!(decode::<1>("zw", 0).unwrap()[0], 0xff);
        assert_eq!(decode::<1>("zx", 0).unwrap_err(), TokenError::Mistyped);
    }
}
