//! Reading around damage: from another place in the vault, else from a copy in another vault.
//!
//! # Invariants
//! - A chunk is compared with the id that this vault knows it by, wherever it was read. Only where
//!   the manifest itself is lost, and no id is known, the other vault's own ids vouch for it.
//! - What was read around is noted ([`Vault::read_around`]): whoever restores learns of it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::future::BoxFuture;
use serde::Serialize;
use tresor_model::{Extent, StreamName};
use tresor_vault_format::limits::CHUNK_SIZE;
use tresor_vault_format::{LeafChunk, PackKind};

use crate::chunk::chunk_id;
use crate::error::{Error, Result};
use crate::read;
use crate::read::open::bytes_to;
use crate::read::reader::{CHUNK, StreamReader, verified};
use crate::vault::Vault;

/// Copies of a recovery point in other vaults.
pub trait Copies: Send + Sync {
    /// The same stream in a copy, with the place of the vault that has it; `None` when no copy has
    /// it. Asked for once by each reader, and only when something is lost.
    fn stream<'a>(&'a self, name: &'a StreamName) -> BoxFuture<'a, Option<(StreamReader, String)>>;
}

/// Where something was read instead.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Instead {
    /// From another pack of the same vault: the damaged one is superseded.
    Elsewhere,
    /// From a copy in the vault at this place.
    Copy(String),
}

impl fmt::Display for Instead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Elsewhere => f.write_str("another pack of the same vault"),
            Self::Copy(vault) => write!(f, "the copy in {vault}"),
        }
    }
}

/// A damaged or missing object, and what was read instead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReadAround {
    /// The object.
    pub object: String,
    /// What is wrong with it.
    pub reason: String,
    /// Where its content was read.
    pub instead: Instead,
    /// Chunks and nodes that were.
    pub pieces: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What a vault was read around of.
#[derive(Default)]
pub(crate) struct AroundLog(Mutex<BTreeMap<(String, Instead), ReadAround>>);

impl AroundLog {
    /// Notes a piece.
    pub(crate) fn note(&self, error: &Error, instead: Instead, bytes: u64) {
        let Some((object, reason)) = error.object_and_reason() else {
            return;
        };
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = log.entry((object.clone(), instead.clone()));
        let noted = entry.or_insert_with(|| ReadAround {
            object,
            reason,
            instead,
            pieces: 0,
            bytes: 0,
        });
        noted.pieces += 1;
        noted.bytes += bytes;
    }
}

/// The copy of one stream, found when it is first needed.
pub(crate) struct CopyOf {
    copies: Arc<dyn Copies>,
    found: tokio::sync::OnceCell<Option<(StreamReader, String)>>,
}

impl CopyOf {
    pub(crate) fn new(copies: Arc<dyn Copies>) -> Self {
        Self {
            copies,
            found: tokio::sync::OnceCell::new(),
        }
    }
}

impl Vault {
    /// This vault, with copies of a recovery point to read what it has lost.
    #[must_use]
    pub fn with_copies(&self, copies: Arc<dyn Copies>) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            copies: Some(copies),
        }
    }

    /// Damaged and missing objects that were read around since the vault was opened.
    #[must_use]
    pub fn read_around(&self) -> Vec<ReadAround> {
        let log = &self.inner.around.0;
        let log = log.lock().unwrap_or_else(PoisonError::into_inner);
        log.values().cloned().collect()
    }
}

impl StreamReader {
    /// The same stream in a copy.
    pub(super) async fn copy(&self) -> Option<&(StreamReader, String)> {
        let of = self.copy_of.as_ref()?;
        let found = of.found.get_or_init(|| of.copies.stream(&self.name)).await;
        found.as_ref().filter(|(copy, _)| copy.size() == self.size)
    }

    /// A chunk that cannot be read where its leaf says.
    pub(super) async fn chunk_around(
        &self,
        at: u64,
        chunk: &LeafChunk,
        error: Error,
    ) -> Result<Bytes> {
        let found = match error.object_and_reason() {
            Some(_) => self.look_around(at, chunk).await,
            None => None,
        };
        let Some((plain, instead)) = found else {
            return Err(self.lost_chunk(at, chunk, error));
        };
        self.vault.around.note(&error, instead, CHUNK);
        Ok(plain)
    }

    async fn look_around(&self, at: u64, chunk: &LeafChunk) -> Option<(Bytes, Instead)> {
        let vault = &self.vault;
        let places = vault
            .elsewhere
            .of_chunk(vault, &chunk.id.0, &chunk.frame.pack);
        for place in places.await.unwrap_or_default() {
            let slot = u8::try_from(place.at as usize / CHUNK_SIZE).ok()?;
            let moved = LeafChunk {
                frame: place.frame,
                slot,
                ..*chunk
            };
            if let Ok(plain) = self.chunk_at(&moved).await {
                return Some((plain, Instead::Elsewhere));
            }
        }
        let (copy, place) = self.copy().await?;
        let plain = Box::pin(copy.read_at(at, CHUNK_SIZE)).await.ok()?;
        let ids = vault.ring.id_key(chunk.frame.pack.epoch()).ok()?;
        let same = chunk_id(&plain, &ids) == Some(chunk.id);
        let mut plain = Vec::from(plain);
        plain.resize(CHUNK_SIZE, 0);
        same.then(|| (plain.into(), Instead::Copy(place.clone())))
    }

    /// The chunk as its frame has it.
    pub(super) async fn chunk_at(&self, chunk: &LeafChunk) -> Result<Bytes> {
        let needed = bytes_to(chunk.slot);
        let opened = read::frame(&self.vault, &chunk.frame, PackKind::Data, needed).await?;
        verified(&self.vault, &opened, chunk)
    }

    /// Notes that the part of the stream below a lost node was read from the copy.
    pub(super) fn note_copied(&self, lost: &Error, place: &str, range: Extent) {
        let instead = Instead::Copy(place.to_owned());
        self.vault.around.note(lost, instead, range.length);
    }
}
