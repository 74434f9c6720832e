//! Reading a recovery point back.

use std::collections::BTreeSet;

use tresor_model::{Extent, PointId, StreamName};

use crate::error::{Error, ErrorKind, Result};
use crate::read::ReadAround;
use crate::vault::Vault;
use crate::verify::Progress;

/// Damage that is listed one by one; beyond that it is only counted.
const LISTED: usize = 10_000;
/// Reads under way.
const READS: usize = 4;

/// A part of a stream that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedChunk {
    /// Id of the chunk, or of the manifest node above it.
    pub chunk: String,
    /// The stream.
    pub stream: StreamName,
    /// First byte within the stream.
    pub offset: u64,
    /// The object that should hold it.
    pub object: String,
    /// In words.
    pub reason: String,
}

/// What the verification of a recovery point found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PointReport {
    /// Streams that were read.
    pub streams: u32,
    /// Bytes that were read and are right.
    pub bytes: u64,
    /// What cannot be read, up to 10,000 entries.
    pub damaged: Vec<DamagedChunk>,
    /// How much cannot be read, in all.
    pub damaged_count: u64,
    /// All objects that should hold it.
    pub damaged_objects: BTreeSet<String>,
    /// Damaged objects whose content was read elsewhere.
    pub around: Vec<ReadAround>,
}

impl Vault {
    /// Reads all disks and attachments of a point, opens and checks every chunk.
    ///
    /// # Errors
    /// [`ErrorKind::PointNotFound`], [`ErrorKind::Damaged`] when the point's own object is; when
    /// the storage fails. Damage below is in the report.
    pub async fn verify_point(
        &self,
        id: PointId,
        progress: impl Fn(Progress) + Send,
    ) -> Result<PointReport> {
        let point = self.point(id).await?;
        let disks = point.disks.iter().map(|disk| &disk.stream);
        let streams: Vec<_> = disks.chain(&point.attachments).collect();
        let total = streams.iter().map(|stream| stream.size).sum();
        let mut report = PointReport::default();
        let mut before = 0;
        for stream in streams {
            let mut fetch = self
                .reader(stream)?
                .fetch(Extent::between(0, stream.size), READS);
            let mut furthest = 0;
            while let Some(piece) = fetch.next().await {
                match piece {
                    Ok(piece) => {
                        report.bytes += piece.bytes.len() as u64;
                        furthest = furthest.max(piece.offset + piece.bytes.len() as u64);
                        progress(Progress {
                            done: before + furthest,
                            total,
                        });
                    }
                    Err(error) => report.note(&error)?,
                }
            }
            before += stream.size;
            report.streams += 1;
        }
        progress(Progress { done: total, total });
        report.around = self.read_around();
        Ok(report)
    }
}

impl PointReport {
    /// Takes damage into the report; gives back any other error.
    fn note(&mut self, error: &Error) -> Result<()> {
        let ErrorKind::ChunkDamaged {
            chunk,
            stream,
            offset,
            object,
            reason,
        } = error.kind()
        else {
            return Err(error.clone());
        };
        self.add(DamagedChunk {
            chunk: chunk.clone(),
            stream: stream.clone(),
            offset: *offset,
            object: object.clone(),
            reason: reason.clone(),
        });
        Ok(())
    }

    pub(super) fn add(&mut self, damage: DamagedChunk) {
        self.damaged_count += 1;
        self.damaged_objects.insert(damage.object.clone());
        if self.damaged.len() < LISTED {
            self.damaged.push(damage);
        }
    }
}
