//! From the stored bytes of a frame to its plain ones.

use std::cell::RefCell;

use bytes::Bytes;
use tresor_vault_format::limits::{CHUNK_SIZE, FRAME_LIMIT};
use tresor_vault_format::{FrameLocation, PackKind, frame, name};

use crate::error::{Error, Result};
use crate::vault::Inner;

thread_local! {
    /// The coded bytes of the frame at hand: used again, since fresh memory costs page faults.
    static CODED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Whose memory the plain bytes are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Memory {
    /// Their own, exactly as much as they need: for what stays.
    Own,
    /// The vault's pool: aligned for direct writes, and needed back soon.
    Lent,
}

/// The plain bytes of a frame, or of its front.
#[derive(Debug, Clone)]
pub(super) struct Opened {
    pub(super) plain: Bytes,
    /// Whether that is all of the frame: it may be much shorter than a frame can be.
    pub(super) whole: bool,
}

/// Opens the seal, and decompresses the first `needed` bytes or more, where there are so many.
/// Runs on the pool of threads.
pub(super) fn open(
    vault: &Inner,
    at: &FrameLocation,
    kind: PackKind,
    stored: &[u8],
    (needed, memory): (usize, Memory),
) -> Result<Opened> {
    let opened = CODED.with_borrow_mut(|coded| {
        let key = vault.ring.pack_key(&at.pack, kind)?;
        let unsealed = frame::unseal(&key, at, stored, coded)?;
        let length = plan_decode(needed, unsealed.plain_len());
        let plain = match memory {
            Memory::Lent => {
                let mut plain = vault.frames.take(length);
                unsealed.decode(plain.bytes_mut())?;
                Bytes::from_owner(plain)
            }
            Memory::Own => {
                let mut plain = vec![0; length];
                unsealed.decode(&mut plain)?;
                Bytes::from(plain)
            }
        };
        let whole = length == unsealed.plain_len();
        Ok(Opened { plain, whole })
    });
    opened.map_err(|error| Error::format(&name::pack(&at.pack), error))
}

/// All plain bytes of a frame of chunks, in memory that is needed back soon. Runs on the pool.
pub(crate) fn open_whole(vault: &Inner, at: &FrameLocation, stored: &[u8]) -> Result<Bytes> {
    let all = (FRAME_LIMIT, Memory::Lent);
    open(vault, at, PackKind::Data, stored, all).map(|opened| opened.plain)
}

/// How much of a frame to decompress. Pure. All at once is faster a byte than step by step, so
/// little is not left out.
fn plan_decode(needed: usize, plain: usize) -> usize {
    if needed < plain - plain / 4 {
        needed
    } else {
        plain
    }
}

/// Bytes of a frame up to the end of the chunk in a slot.
pub(super) fn bytes_to(slot: u8) -> usize {
    ((usize::from(slot) + 1) * CHUNK_SIZE).min(FRAME_LIMIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_much_as_is_needed_is_decompressed() {
        const MIB: usize = 1 << 20;
        let cases = [
            (CHUNK_SIZE, MIB, CHUNK_SIZE),
            (MIB / 2, MIB, MIB / 2),
            (MIB - CHUNK_SIZE, MIB, MIB),
            (MIB, MIB, MIB),
            (2 * CHUNK_SIZE, CHUNK_SIZE, CHUNK_SIZE),
            (CHUNK_SIZE, 0, 0),
        ];
        for (needed, plain, expected) in cases {
            assert_eq!(plan_decode(needed, plain), expected, "{needed} of {plain}");
        }
        assert_eq!(bytes_to(0), CHUNK_SIZE);
        assert_eq!(bytes_to(15), MIB);
        assert_eq!(bytes_to(255), MIB);
    }
}
