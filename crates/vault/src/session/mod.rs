//! Writing a recovery point.
//!
//! # Ordering (invariant I2)
//! ```text
//! begin ─ data packs ─ index run ─ tree packs ─ … ─ data packs ─ index run ─ tree packs ─ end
//! ```
//! A tree pack is put only when every data pack that it may refer to is durable and indexed; the
//! end object only when all of them are. Whoever reads an end object therefore finds everything
//! below it. The order is kept in one place: [`core::Core::checkpoint`].
//!
//! # After a crash
//! Packs and index runs stay behind, without a reference to them. The next session finds their
//! chunks and does not send them again; collect ends the session ([`crate::Vault::abort_session`])
//! and frees what nobody uses.
//!
//! # Cancellation
//! Dropping a future of this module abandons the session: packs under way may still be stored,
//! nothing is committed. `commit` is the exception that every commit has: when its future is
//! dropped, or its answer is lost, ask [`crate::Vault::abort_session`] how it ended.

mod base;
mod claims;
mod commit;
mod core;
mod frames;
mod leaves;
mod level;
mod outbox;
mod packer;
mod protocol;
mod spare;
mod stream;

pub use claims::Doubt;
pub(crate) use commit::abort;
pub use commit::{Ended, PointSummary};
pub(crate) use core::Core;
pub use level::{DEFAULT_LEVEL, Level, LevelCounts};
pub(crate) use packer::Packer;
pub(crate) use protocol::{PlantedBug, Protocol};
pub(crate) use spare::Spare;
pub use stream::{StreamStats, StreamWriter};

use std::path::PathBuf;
use std::sync::Arc;

use tresor_model::{PointId, SessionId, StreamName, StreamRecord};

use crate::damage::Heal;
use crate::error::{Error, Result};
use crate::vault::Vault;

/// How to write.
#[derive(Debug, Clone)]
pub struct SessionOptions {
    /// Id of the session, and of the recovery point that it commits.
    pub id: SessionId,
    /// Frames that may be compressed at once; `None`: one for each thread of the vault's pool.
    pub workers: Option<usize>,
    /// How hard to compress.
    pub level: Level,
    /// The point whose streams will be bases: tells where to look for them. Without it, the base of
    /// a stream is looked for among all points.
    pub base: Option<PointId>,
    /// Where this machine keeps tables of the chunks that vaults hold, and what it wrote and verified
    /// of them, from one session to the next; `None`: all index runs are read, into memory, and only
    /// what was written through this [`Vault`] is believed without a look.
    pub index_cache: Option<PathBuf>,
    /// Stored size in bytes at which a data pack is closed. The default is large enough that a
    /// TiB is 30,000 objects, and small enough that three of them in memory are bearable.
    pub pack_size: usize,
    /// Stored size in bytes at which a tree pack is closed: by default the leaves of 14 GiB.
    pub tree_pack_size: usize,
    /// What is written anew because it is damaged; nothing by default.
    pub heal: Heal,
    /// A defect to build in, for the test of the simulation.
    #[cfg(test)]
    pub(crate) planted: Option<PlantedBug>,
}

impl SessionOptions {
    /// The usual.
    #[must_use]
    pub fn new(id: SessionId) -> Self {
        Self {
            id,
            workers: None,
            base: None,
            index_cache: None,
            level: Level::Adaptive,
            pack_size: 32 << 20,
            tree_pack_size: 8 << 20,
            heal: Heal::default(),
            #[cfg(test)]
            planted: None,
        }
    }
}

/// A session that writes. Streams may be written at once.
pub struct WriteSession {
    pub(crate) core: Arc<Core>,
}

impl Vault {
    /// Begins a session: says so in the vault, then learns which chunks are there.
    ///
    /// # Errors
    /// [`crate::ErrorKind::SessionExists`]; when the storage fails.
    pub async fn begin_session(&self, options: SessionOptions) -> Result<WriteSession> {
        let core = Core::begin(&self.inner, options).await?;
        Ok(WriteSession { core })
    }
}

impl WriteSession {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.core.id
    }

    /// Packs that others wrote and of which something was claimed, so far, that is not so.
    #[must_use]
    pub fn doubts(&self) -> Vec<Doubt> {
        self.core.claims.doubts()
    }

    /// How the frames so far were coded.
    #[must_use]
    pub fn levels(&self) -> LevelCounts {
        self.core.levels.counts()
    }

    /// Begins a stream of `size` bytes. What is not written keeps the content of `base`; behind
    /// the end of a smaller base, and without one, it is zero. A base is taken over as it is: who
    /// gives one vouches for who wrote it ([`Vault::wrote`]).
    ///
    /// # Errors
    /// [`crate::ErrorKind::Misuse`] when the base is larger; [`crate::ErrorKind::BaseElsewhere`] when it
    /// is of another domain (see [`Vault::can_build_on`]); [`crate::ErrorKind::BaseGone`] when no
    /// recovery point has it any more, and it is not of this session; when it cannot be read.
    pub async fn stream(
        &self,
        name: StreamName,
        size: u64,
        base: Option<&StreamRecord>,
    ) -> Result<StreamWriter> {
        if base.is_some_and(|base| base.size > size) {
            return Err(Error::misuse("a stream is not smaller than its base"));
        }
        if let Some(base) = base {
            self.core.vault.check_base(base).await?;
        }
        if let Some(root) = base.and_then(|base| base.root.as_ref()) {
            self.core.admit(&name, &root.id).await?;
        }
        StreamWriter::new(Arc::clone(&self.core), name, size, base)
    }
}
