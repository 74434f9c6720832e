//! Putting back what a stream has lost, from the same stream in another vault.
//!
//! The stream is written over itself: what is lost is written from the copy, everything else stays
//! what it is. So the result has the same id exactly when the copy holds the same bytes.

use tresor_model::StreamRecord;

use crate::copy::write_extent;
use crate::damage::{Heal, Losses};
use crate::error::{Error, ErrorKind, Result};
use crate::read::StreamReader;
use crate::session::{SessionOptions, WriteSession};
use crate::vault::Vault;

/// A stream to be repaired.
pub struct RepairTask<'a> {
    /// Its record in the vault that lost some of it.
    pub stream: &'a StreamRecord,
    /// What it lost.
    pub losses: &'a Losses,
    /// The same stream in another vault.
    pub copy: StreamReader,
}

/// What a repair stored, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Repaired {
    /// Read from the copy.
    pub read: u64,
    /// Of these, not in the vault before.
    pub new: u64,
    /// Stored for them.
    pub stored: u64,
}

impl Repaired {
    /// The sum of both.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            read: self.read + other.read,
            new: self.new + other.new,
            stored: self.stored + other.stored,
        }
    }
}

impl Vault {
    /// Begins a session that repairs. It ends without a recovery point
    /// ([`WriteSession::finish_repair`]).
    ///
    /// # Errors
    /// As for [`Self::begin_session`].
    pub async fn begin_repair(
        &self,
        mut options: SessionOptions,
        heal: Heal,
    ) -> Result<WriteSession> {
        options.heal = heal;
        self.begin_session(options).await
    }
}

impl WriteSession {
    /// Stores what a stream has lost. `progress` is told of each step's bytes.
    ///
    /// # Errors
    /// [`ErrorKind::ChunkDamaged`] when the copy is damaged there too, or holds other bytes; when
    /// a storage fails.
    pub async fn repair_stream(
        &self,
        task: RepairTask<'_>,
        mut progress: impl FnMut(u64) + Send,
    ) -> Result<Repaired> {
        let RepairTask {
            stream,
            losses,
            copy,
        } = task;
        if copy.size() != stream.size {
            return Err(other_bytes(stream));
        }
        let mut writer = self
            .stream(stream.name.clone(), stream.size, Some(stream))
            .await?;
        for extent in &losses.extents {
            if let Err(error) = write_extent(&copy, &mut writer, *extent, &mut progress).await {
                // Others of the session may have been told of what this one has placed.
                let _the_damage_is_the_cause = writer.abandon().await.is_ok();
                return Err(error);
            }
        }
        let (written, stats) = writer.finish().await?;
        let id = |stream: &StreamRecord| stream.root.as_ref().map(|root| root.id.clone());
        if id(&written) != id(stream) {
            return Err(other_bytes(stream));
        }
        Ok(Repaired {
            read: stats.read,
            new: stats.new,
            stored: stats.stored,
        })
    }

    /// Makes durable what was repaired, and ends the session.
    ///
    /// # Errors
    /// When the storage fails.
    pub async fn finish_repair(self) -> Result<()> {
        let vault = std::sync::Arc::clone(&self.core.vault);
        self.core.store_all().await?;
        self.abort().await?;
        vault.elsewhere.forget().await;
        Ok(())
    }
}

fn other_bytes(stream: &StreamRecord) -> Error {
    Error::new(ErrorKind::ChunkDamaged {
        chunk: stream
            .root
            .as_ref()
            .map_or_else(String::new, |root| root.id.clone()),
        stream: stream.name.clone(),
        offset: 0,
        object: stream
            .root
            .as_ref()
            .map_or_else(String::new, |root| format!("pack {}", root.pack)),
        reason: "the copy does not hold the same bytes".to_owned(),
    })
}
