//! The token that lets a host enrol, once.

use std::{fmt, str::FromStr};

use zeroize::Zeroizing;

use super::{
    TokenError, TokenHash, TokenSecretError, random,
    text::{CHECK, check, check_length, compact, decode, encode, length},
};
use crate::Fingerprint;

const PREFIX: &str = "tresor-enrol-";
const VERSION: &str = "1";
const SECRET: usize = 20;
/// What comes first: the secret and the check.
const FIRST: usize = length(SECRET + CHECK);
/// What comes then: the fingerprint.
const SECOND: usize = length(32);
const LENGTH: usize = PREFIX.len() + VERSION.len() + 1 + FIRST + 1 + SECOND;

const CHECK_CONTEXT: &str = "tresor 2026-11-28 enrolment token check v1";
const HASH_CONTEXT: &str = "tresor 2026-11-28 enrolment token hash v1";

/// `tresor-enrol-1-<secret and check>-<fingerprint of the authority>`: 160 random bits for the
/// service to know the host by, and the fingerprint for the host to know the service by.
#[derive(Clone, PartialEq, Eq)]
pub struct EnrolmentToken {
    secret: Zeroizing<[u8; SECRET]>,
    authority: Fingerprint,
}

impl EnrolmentToken {
    /// A new one.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn generate(authority: Fingerprint) -> Result<Self, TokenSecretError> {
        Ok(Self {
            secret: random()?,
            authority,
        })
    }

    /// The authority that the host is to trust: for [`crate::enrol_config`].
    #[must_use]
    pub const fn authority(&self) -> Fingerprint {
        self.authority
    }

    /// What the service stores, and looks it up by.
    #[must_use]
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(HASH_CONTEXT, &[&*self.secret])
    }

    /// The text that is shown once.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut first = Zeroizing::new([0; SECRET + CHECK]);
        first[..SECRET].copy_from_slice(&*self.secret);
        first[SECRET..].copy_from_slice(&self.check());
        let mut text = Zeroizing::new(String::with_capacity(LENGTH));
        text.push_str(PREFIX);
        text.push_str(VERSION);
        text.push('-');
        encode(&*first, &mut text);
        text.push('-');
        encode(self.authority.as_bytes(), &mut text);
        text
    }

    fn check(&self) -> [u8; CHECK] {
        check(CHECK_CONTEXT, &[&*self.secret, self.authority.as_bytes()])
    }
}

impl fmt::Debug for EnrolmentToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnrolmentToken")
            .field("authority", &self.authority)
            .finish_non_exhaustive()
    }
}

impl FromStr for EnrolmentToken {
    type Err = TokenError;

    /// Reads a token as it was copied or typed: letters of either case, white space anywhere.
    fn from_str(text: &str) -> Result<Self, TokenError> {
        let text = compact(text, LENGTH)?;
        let truncated = || TokenError::Truncated {
            expected: LENGTH,
            found: text.len(),
        };
        let head = text.get(..PREFIX.len()).ok_or_else(|| {
            let begun = PREFIX.starts_with(&text.to_ascii_lowercase()) && !text.is_empty();
            match begun {
                true => truncated(),
                false => TokenError::NotAToken { prefix: PREFIX },
            }
        })?;
        if !head.eq_ignore_ascii_case(PREFIX) {
            return Err(TokenError::NotAToken { prefix: PREFIX });
        }
        let (version, _) = text[PREFIX.len()..].split_once('-').ok_or_else(truncated)?;
        if version != VERSION {
            let found = version.chars().take(8).collect();
            return Err(TokenError::VersionUnknown { found });
        }
        check_length(&text, LENGTH)?;
        let start = PREFIX.len() + VERSION.len() + 1;
        let (first, rest) = text[start..].split_at(FIRST);
        let first = decode::<{ SECRET + CHECK }>(first, start)?;
        let second = rest
            .strip_prefix('-')
            .ok_or_else(|| TokenError::BadCharacter {
                at: start + FIRST + 1,
                character: rest.chars().next().unwrap_or(' '),
            })?;
        let second = decode::<32>(second, start + FIRST + 1)?;
        let mut secret = Zeroizing::new([0; SECRET]);
        secret.copy_from_slice(&first[..SECRET]);
        let token = Self {
            secret,
            authority: Fingerprint::from_bytes(*second),
        };
        match token.check() == first[SECRET..] {
            true => Ok(token),
            false => Err(TokenError::Mistyped),
        }
    }
}
