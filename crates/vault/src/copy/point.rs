//! One recovery point on its way into another vault.

use jiff::Timestamp;
use tresor_model::{CopiedFrom, DiskStats, Extent, RecoveryPoint, StreamRecord};

use super::stream::{write_changes, write_extent};
use crate::error::Result;
use crate::read::reader::LEAF;
use crate::session::{Doubt, SessionOptions, StreamStats, WriteSession};
use crate::vault::Vault;

/// Reads under way while a copy is read back.
const READS: usize = 4;

/// How much of a copy is read back, from the vault that it was written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadBack {
    /// Nothing.
    None,
    /// One of so many parts of 4 MiB, others each time.
    Sample(u64),
    /// Everything.
    All,
}

/// A point that both vaults have, to copy another one over.
#[derive(Debug, Clone)]
pub struct Base {
    /// In the vault that is read.
    pub here: RecoveryPoint,
    /// Its copy.
    pub there: RecoveryPoint,
}

/// How to copy.
#[derive(Debug, Clone)]
pub struct CopyOptions {
    /// How to write.
    pub session: SessionOptions,
    /// How much is read back.
    pub read_back: ReadBack,
}

/// What a copy moved, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CopyStats {
    /// Read from the first vault and verified.
    pub read: u64,
    /// Of these, not in the other vault before.
    pub new: u64,
    /// Stored there for them.
    pub stored: u64,
    /// Read back.
    pub read_back: u64,
}

impl CopyStats {
    /// The sum of both.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            read: self.read + other.read,
            new: self.new + other.new,
            stored: self.stored + other.stored,
            read_back: self.read_back + other.read_back,
        }
    }
}

/// Copies a point. `progress` is told of the bytes of the point's streams that were passed over.
///
/// # Errors
/// [`crate::ErrorKind::ChunkDamaged`] when the point is damaged: nothing is committed then; or when what
/// was read back is; when a storage fails.
pub async fn copy_point(
    source: &Vault,
    target: &Vault,
    point: &RecoveryPoint,
    base: Option<&Base>,
    options: CopyOptions,
    mut progress: impl FnMut(u64) + Send,
) -> Result<(RecoveryPoint, CopyStats)> {
    let id = options.session.id;
    let session = target.begin_session(options.session).await?;
    let mut copier = Copier {
        source,
        session: &session,
        base,
    };
    let mut copy = point.clone();
    let mut stats = CopyStats::default();
    for disk in &mut copy.disks {
        let (stream, moved) = copier.copy(&disk.stream, &mut progress).await?;
        disk.stream = stream;
        disk.stats = DiskStats {
            changed: moved.read,
            read: moved.read,
            zero: moved.zero,
            new: moved.new,
            stored: moved.stored,
        };
        stats.add(moved);
    }
    for attachment in &mut copy.attachments {
        let (stream, moved) = copier.copy(attachment, &mut progress).await?;
        *attachment = stream;
        stats.add(moved);
    }
    copy.id = id.into();
    let origin = CopiedFrom {
        vault: source.id(),
        point: point.id,
        at: Timestamp::now(),
    };
    copy.copied_from = Some(match point.copied_from {
        Some(first) => CopiedFrom {
            at: origin.at,
            ..first
        },
        None => origin,
    });
    // Marks are of the vault that has them.
    copy.damage_seen.clear();
    for Doubt { object, reason, .. } in session.doubts() {
        copy.warnings.push(format!("{object}: {reason}"));
    }
    session.commit(copy.clone()).await?;
    stats.read_back = read_back(target, &copy, options.read_back).await?;
    Ok((copy, stats))
}

impl CopyStats {
    fn add(&mut self, moved: StreamStats) {
        self.read += moved.read;
        self.new += moved.new;
        self.stored += moved.stored;
    }
}

struct Copier<'a> {
    source: &'a Vault,
    session: &'a WriteSession,
    base: Option<&'a Base>,
}

impl Copier<'_> {
    async fn copy(
        &mut self,
        stream: &StreamRecord,
        progress: &mut (impl FnMut(u64) + Send),
    ) -> Result<(StreamRecord, StreamStats)> {
        if let Some(base) = self.base_of(stream) {
            match self.copy_over(stream, base, progress).await {
                // Then without it: what both vaults have is not sent again anyway.
                Err(error) if error.is_damage() => {
                    tracing::info!(%error, stream = %stream.name, "the point before cannot be built on");
                }
                copied => return copied,
            }
        }
        let reader = self.source.reader(stream)?;
        let mut writer = self.writer(stream, None).await?;
        let whole = Extent::between(0, stream.size);
        let written = write_extent(&reader, &mut writer, whole, progress).await;
        finish(writer, written).await
    }

    async fn copy_over(
        &self,
        stream: &StreamRecord,
        (here, there): (&StreamRecord, &StreamRecord),
        progress: &mut (impl FnMut(u64) + Send),
    ) -> Result<(StreamRecord, StreamStats)> {
        let reader = self.source.reader(stream)?;
        let mut writer = self.writer(stream, Some(there)).await?;
        let written = write_changes(&reader, &mut writer, (here, stream), progress).await;
        finish(writer, written).await
    }

    async fn writer(
        &self,
        stream: &StreamRecord,
        base: Option<&StreamRecord>,
    ) -> Result<crate::session::StreamWriter> {
        self.session
            .stream(stream.name.clone(), stream.size, base)
            .await
    }

    /// The stream of the same name in the base, in both vaults.
    fn base_of(&self, stream: &StreamRecord) -> Option<(&StreamRecord, &StreamRecord)> {
        let base = self.base?;
        let here = stream_of(&base.here, stream)?;
        let there = stream_of(&base.there, stream)?;
        let fits = here.size == there.size && here.size <= stream.size;
        let vault = &self.session.core.vault;
        let is_own = |root| vault.trust.has_root(root);
        let may = vault.is_ours(there) && there.root.as_ref().is_none_or(is_own);
        // A base that the session must not build on costs a whole reading.
        (fits && may).then_some((here, there))
    }
}

/// Ends a stream; one that failed leaves what others may rely on.
async fn finish(
    writer: crate::session::StreamWriter,
    written: Result<()>,
) -> Result<(StreamRecord, StreamStats)> {
    match written {
        Ok(()) => writer.finish().await,
        Err(error) => {
            if error.is_damage() {
                let _the_damage_is_the_cause = writer.abandon().await.is_ok();
            }
            Err(error)
        }
    }
}

/// The stream of the same name.
fn stream_of<'a>(point: &'a RecoveryPoint, like: &StreamRecord) -> Option<&'a StreamRecord> {
    streams(point).find(|stream| stream.name == like.name)
}

fn streams(point: &RecoveryPoint) -> impl Iterator<Item = &StreamRecord> {
    let disks = point.disks.iter().map(|disk| &disk.stream);
    disks.chain(&point.attachments)
}

/// Reads parts of a point, or all of it, and gives how many bytes.
async fn read_back(vault: &Vault, point: &RecoveryPoint, how: ReadBack) -> Result<u64> {
    let one_of = match how {
        ReadBack::None => return Ok(0),
        ReadBack::Sample(one_of) => one_of.max(1),
        ReadBack::All => 1,
    };
    // The id is random: each copy is sampled at other places.
    let (_, random) = point.id.as_uuid().as_u64_pair();
    let mut next = random % one_of;
    let mut bytes = 0;
    for stream in streams(point) {
        let reader = vault.reader(stream)?;
        let parts = stream.size.div_ceil(LEAF);
        let step = if one_of == 1 { parts.max(1) } else { 1 };
        while next < parts {
            let window = Extent::between(next * LEAF, stream.size.min((next + step) * LEAF));
            let mut fetch = reader.fetch(window, READS);
            while let Some(piece) = fetch.next().await {
                bytes += piece?.bytes.len() as u64;
            }
            next += if one_of == 1 { step } else { one_of };
        }
        next = (next - parts) % one_of.max(1);
    }
    Ok(bytes)
}
