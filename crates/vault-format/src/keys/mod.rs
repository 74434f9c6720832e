//! Keys: slots that wrap a master key, the ring of data keys that it seals, and what is derived
//! from them. Layouts: docs/format/keys.md.

mod recovery;
mod ring;
mod slot;

pub use recovery::RecoveryKey;
pub use ring::{DataKey, DomainKeys, IdKey, KeyRing, RingHeader};
pub use slot::{Argon2Cost, KeySlot, SlotKind, owner_domain, owner_secret};

use zeroize::{Zeroize, ZeroizeOnDrop};

/// 32 secret bytes, wiped when dropped.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Secret(pub [u8; 32]);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Derives a key: BLAKE3 in its key derivation mode. Every part but the last is of fixed length,
/// so that two lists of parts never run together into the same bytes.
pub(crate) fn derive(context: &str, parts: &[&[u8]]) -> Secret {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    for part in parts {
        hasher.update(part);
    }
    let key = Secret(*hasher.finalize().as_bytes());
    hasher.zeroize();
    key
}
