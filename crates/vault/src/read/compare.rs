//! Comparing bytes with a stream without reading the stream: by the ids in its manifest.

use std::sync::Arc;

use bytes::Bytes;
use tresor_model::Extent;
use tresor_vault_format::limits::CHUNK_SIZE;
use tresor_vault_format::{LeafChunk, name};

use crate::chunk::chunk_id;
use crate::error::{Error, Result};
use crate::read::reader::{CHUNK, StreamReader};
use crate::vault::Inner;

impl StreamReader {
    /// The chunks in which `bytes` are not what the stream holds at `offset`: their offsets,
    /// rising. Reads the manifest only, and no more of it than these bytes need. `offset` is a
    /// multiple of the chunk size; so is the length, unless the stream ends with these bytes.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Misuse`] when that is broken; [`crate::ErrorKind::ChunkDamaged`] when a
    /// node of the manifest is damaged; when the storage fails.
    pub async fn differing_chunks(&self, offset: u64, bytes: Bytes) -> Result<Vec<u64>> {
        let window = Extent {
            start: offset,
            length: bytes.len() as u64,
        };
        let ends = window.end().is_multiple_of(CHUNK) || window.end() == self.size;
        if !offset.is_multiple_of(CHUNK) || !ends || window.end() > self.size {
            return Err(Error::misuse("comparisons are aligned to chunks"));
        }
        let mut stored = vec![None; bytes.len().div_ceil(CHUNK_SIZE)];
        for (at, chunk) in self.chunks(window).await? {
            let number = usize::try_from((at - offset) / CHUNK).unwrap_or(usize::MAX);
            if let Some(slot) = stored.get_mut(number) {
                *slot = Some(chunk);
            }
        }
        let vault = Arc::clone(&self.vault);
        let compared = self
            .vault
            .pool
            .run(move || differing(&vault, &bytes, &stored));
        let found = compared
            .await
            .map_err(|error| Error::system("compare chunks").because(error))??;
        Ok(found
            .into_iter()
            .map(|number| offset + number * CHUNK)
            .collect())
    }
}

/// Runs on the pool. The numbers of the chunks that differ.
fn differing(vault: &Inner, bytes: &[u8], stored: &[Option<LeafChunk>]) -> Result<Vec<u64>> {
    let mut found = Vec::new();
    for (number, (plain, chunk)) in (0..).zip(bytes.chunks(CHUNK_SIZE).zip(stored)) {
        // An id was made with the key of its time.
        let epoch = chunk.map_or(vault.epoch, |chunk| chunk.frame.pack.epoch());
        let key = vault.ring.id_key(epoch).map_err(|error| {
            let object = chunk.map_or_else(String::new, |chunk| name::pack(&chunk.frame.pack));
            Error::format(&object, error)
        })?;
        if chunk_id(plain, &key) != chunk.map(|chunk| chunk.id) {
            found.push(number);
        }
    }
    Ok(found)
}
