//! Fresh random bytes.

use crate::error::{Error, Result};

/// # Errors
/// When the operating system has none to give.
pub(crate) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    #[cfg(test)]
    if seeded::fill(&mut bytes) {
        return Ok(bytes);
    }
    match getrandom::fill(&mut bytes) {
        Ok(()) => Ok(bytes),
        Err(error) => Err(Error::system("get random bytes").because(error.to_string())),
    }
}

/// Random bytes that a simulation can repeat.
#[cfg(test)]
pub(crate) mod seeded {
    use std::cell::RefCell;

    use tresor_backend::sim::Rng;

    thread_local! {
        static RNG: RefCell<Option<Rng>> = const { RefCell::new(None) };
    }

    /// From now on this thread's random bytes follow from `seed`.
    pub(crate) fn start(seed: u64) {
        RNG.set(Some(Rng::new(seed)));
    }

    pub(super) fn fill(bytes: &mut [u8]) -> bool {
        RNG.with_borrow_mut(|rng| {
            let Some(rng) = rng else { return false };
            bytes.fill_with(|| rng.next_u64().to_le_bytes()[3]);
            true
        })
    }
}
