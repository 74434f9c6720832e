//! Fresh random bytes.

use crate::error::{Error, Result};

/// # Errors
/// When the operating system has none to give.
pub(crate) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    match getrandom::fill(&mut bytes) {
        Ok(()) => Ok(bytes),
        Err(error) => Err(Error::system("get random bytes").because(error.to_string())),
    }
}
