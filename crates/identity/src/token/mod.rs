//! Tokens: what a host shows once, and what users and programs show each time.
//!
//! Both are random secrets in a text that tells its own typing errors. The service stores hashes
//! only; a fast hash is enough, since there is nothing to guess in 160 or 256 random bits.

mod api;
mod enrolment;
mod hash;
mod text;

pub use api::ApiToken;
pub use enrolment::EnrolmentToken;
pub(crate) use hash::hex_32;
pub use hash::{TokenHash, TokenHashError};
pub use text::{MAX_TOKEN, TokenError};

use zeroize::Zeroizing;

/// The system gave no random numbers.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the system gives no random numbers")]
pub struct TokenSecretError(#[source] getrandom::Error);

fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, TokenSecretError> {
    let mut secret = Zeroizing::new([0; N]);
    getrandom::fill(&mut *secret).map_err(TokenSecretError)?;
    Ok(secret)
}
