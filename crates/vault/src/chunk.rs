//! What makes a chunk of plain bytes.

use tresor_vault_format::limits::CHUNK_SIZE;
use tresor_vault_format::{ChunkId, IdKey};

use crate::zero::is_zero;

/// The id of a chunk; `None` when it is all zeros. The last chunk of a stream may be shorter: it is
/// padded with zeros.
pub(crate) fn chunk_id(plain: &[u8], key: &IdKey) -> Option<ChunkId> {
    if is_zero(plain) {
        return None;
    }
    if plain.len() == CHUNK_SIZE {
        return Some(key.chunk_id(plain));
    }
    let mut padded = plain.to_vec();
    padded.resize(CHUNK_SIZE, 0);
    Some(key.chunk_id(&padded))
}
