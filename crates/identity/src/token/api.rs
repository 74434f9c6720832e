//! The token of a user or a program of the API.

use std::{fmt, str::FromStr};

use tresor_model::TokenId;
use zeroize::Zeroizing;

use super::{
    TokenError, TokenHash, TokenSecretError, random,
    text::{CHECK, check, check_length, compact, decode, encode, length},
};

const PREFIX: &str = "tresor_";
const SECRET: usize = 32;
/// A UUID without hyphens.
const ID: usize = 32;
const LENGTH: usize = PREFIX.len() + ID + 1 + length(SECRET + CHECK);

const CHECK_CONTEXT: &str = "tresor 2026-11-28 API token check v1";
const HASH_CONTEXT: &str = "tresor 2026-11-28 API token hash v1";

/// `tresor_<id>_<secret and check>`: the id, which is no secret, finds it in the catalog and in the
/// audit log; 256 random bits prove it.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiToken {
    id: TokenId,
    secret: Zeroizing<[u8; SECRET]>,
}

impl ApiToken {
    /// A new one.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn generate(id: TokenId) -> Result<Self, TokenSecretError> {
        let secret = random()?;
        Ok(Self { id, secret })
    }

    /// Which token it says it is.
    #[must_use]
    pub const fn id(&self) -> TokenId {
        self.id
    }

    /// What the service stores, and compares with.
    #[must_use]
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(HASH_CONTEXT, &[self.id.as_uuid().as_bytes(), &*self.secret])
    }

    /// The text that is shown once.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut last = Zeroizing::new([0; SECRET + CHECK]);
        last[..SECRET].copy_from_slice(&*self.secret);
        last[SECRET..].copy_from_slice(&self.check());
        let mut text = Zeroizing::new(String::with_capacity(LENGTH));
        text.push_str(PREFIX);
        text.push_str(&self.id.as_uuid().simple().to_string());
        text.push('_');
        encode(&*last, &mut text);
        text
    }

    fn check(&self) -> [u8; CHECK] {
        let id = self.id.as_uuid().as_bytes();
        check(CHECK_CONTEXT, &[id, &*self.secret])
    }
}

impl fmt::Debug for ApiToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiToken")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl FromStr for ApiToken {
    type Err = TokenError;

    /// Reads a token as it was copied: letters of either case, white space anywhere.
    fn from_str(text: &str) -> Result<Self, TokenError> {
        let text = compact(text, LENGTH)?;
        let head = text.get(..PREFIX.len());
        if !head.is_some_and(|head| head.eq_ignore_ascii_case(PREFIX)) {
            return Err(TokenError::NotAToken { prefix: PREFIX });
        }
        check_length(&text, LENGTH)?;
        let (id, rest) = text[PREFIX.len()..].split_at(ID);
        let bad = |at: usize, character: Option<char>| TokenError::BadCharacter {
            at: at + 1,
            character: character.unwrap_or(' '),
        };
        if let Some(at) = id.find(|digit: char| !digit.is_ascii_hexdigit()) {
            return Err(bad(PREFIX.len() + at, id[at..].chars().next()));
        }
        let id: TokenId = id.parse().map_err(|_| TokenError::Mistyped)?;
        let start = PREFIX.len() + ID;
        let last = rest
            .strip_prefix('_')
            .ok_or_else(|| bad(start, rest.chars().next()))?;
        let last = decode::<{ SECRET + CHECK }>(last, start + 1)?;
        let mut secret = Zeroizing::new([0; SECRET]);
        secret.copy_from_slice(&last[..SECRET]);
        let token = Self { id, secret };
        match token.check() == last[SECRET..] {
            true => Ok(token),
            false => Err(TokenError::Mistyped),
        }
    }
}
