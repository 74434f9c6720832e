//! A login that was begun: what the browser keeps, so that the code that comes back is its own.

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use crate::OidcError;

/// Random bytes of each part.
const RANDOM: usize = 32;
/// The same as text.
const PART: usize = 43;

/// Three parts, each 256 random bits: the state comes back with the code, the nonce with the token, and
/// the verifier (RFC 7636) proves to the provider that who redeems the code has asked for it.
#[derive(Clone, PartialEq, Eq)]
pub struct Pending {
    parts: [Zeroizing<String>; 3],
}

impl Pending {
    pub(crate) fn generate() -> Result<Self, OidcError> {
        let part = || {
            let mut bytes = Zeroizing::new([0; RANDOM]);
            getrandom::fill(&mut *bytes)
                .map_err(|error| OidcError::refused(format!("no random numbers: {error}")))?;
            Ok(Zeroizing::new(URL_SAFE_NO_PAD.encode(*bytes)))
        };
        let parts = [part()?, part()?, part()?];
        Ok(Self { parts })
    }

    pub(crate) fn state(&self) -> &str {
        &self.parts[0]
    }

    pub(crate) fn nonce(&self) -> &str {
        &self.parts[1]
    }

    pub(crate) fn verifier(&self) -> &str {
        &self.parts[2]
    }

    /// What the provider is shown of the verifier.
    pub(crate) fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(digest(&SHA256, self.verifier().as_bytes()))
    }

    /// For the browser: letters, digits, `-`, `_` and `.`.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let [state, nonce, verifier] = &self.parts;
        Zeroizing::new(format!("{}.{}.{}", **state, **nonce, **verifier))
    }

    /// What the browser gives back; `None` when it is no such text.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let mut parts = text.split('.').map(|part| {
            let fits = part.len() == PART && part.bytes().all(plain);
            fits.then(|| Zeroizing::new(part.to_owned()))
        });
        let found = [parts.next()??, parts.next()??, parts.next()??];
        parts.next().is_none().then_some(Self { parts: found })
    }
}

impl std::fmt::Debug for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pending")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_gives_back_what_it_got() {
        let pending = Pending::generate().unwrap();
        let text = pending.to_text();
        assert!(Pending::from_text(&text).unwrap() == pending);
        let part = pending.state();
        let cut = &text[1..];
        for text in [
            "",
            "..",
            part,
            cut,
            &format!("{}.{part}", *text),
            &text.replace(part, &"é".repeat(PART)),
        ] {
            assert!(Pending::from_text(text).is_none(), "{text}");
        }
    }

    #[test]
    fn the_challenge_is_that_of_the_rfc() {
        // RFC 7636, appendix B.
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let text = format!("{verifier}.{verifier}.{verifier}");
        let challenge = Pending::from_text(&text).unwrap().challenge();
        assert_eq!(challenge, "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }
}
