//! Looking whether what a recovery point refers to is there, without reading its data.

use tresor_model::{RecoveryPoint, StreamRecord};
use tresor_vault_format::limits::{CHUNK_SIZE, FAN_OUT};
use tresor_vault_format::name;

use crate::error::{Error, Result};
use crate::known::ListedPacks;
use crate::tree::{Change, Diff};
use crate::vault::Vault;
use crate::verify::{DamagedChunk, PointReport};

impl Vault {
    /// Reads the nodes of a point's manifests that `base`, a point that was looked at before, has
    /// not, and looks for the packs of the chunks in them. What both share is not looked at again.
    ///
    /// # Errors
    /// When the storage fails. Damage is in the report.
    pub async fn verify_manifests(
        &self,
        point: &RecoveryPoint,
        base: Option<&RecoveryPoint>,
    ) -> Result<PointReport> {
        let sound = ListedPacks::list(&self.inner).await?;
        let mut report = PointReport::default();
        for stream in streams(point) {
            let of_base = base.into_iter().flat_map(streams);
            let mut of_base = of_base.filter(|old| old.name == stream.name);
            let old = of_base.find(|old| old.size <= stream.size);
            let nothing = StreamRecord {
                root: None,
                ..stream.clone()
            };
            let mut diff = Diff::new(&self.inner, old.unwrap_or(&nothing), stream)?;
            loop {
                match diff.next().await {
                    Ok(None) => break,
                    Ok(Some(change)) => self.look_for(change, stream, &sound, &mut report).await?,
                    // The rest of the tree goes on.
                    Err(error) => report.note_node(stream, &error)?,
                }
            }
            report.streams += 1;
        }
        Ok(report)
    }

    async fn look_for(
        &self,
        change: Change,
        stream: &StreamRecord,
        sound: &ListedPacks,
        report: &mut PointReport,
    ) -> Result<()> {
        let Change::Chunks(leaf, changes) = change else {
            return Ok(());
        };
        for (slot, chunk) in changes {
            let Some(chunk) = chunk else { continue };
            let pack = &chunk.frame.pack;
            if sound.has_id(pack) {
                continue;
            }
            let elsewhere = &self.inner.elsewhere;
            let places = elsewhere.of_chunk(&self.inner, &chunk.id.0, pack).await?;
            if places.is_empty() {
                let slot = leaf * FAN_OUT as u64 + slot as u64;
                report.add(DamagedChunk {
                    chunk: chunk.id.to_string(),
                    stream: stream.name.clone(),
                    offset: slot * CHUNK_SIZE as u64,
                    object: name::pack(pack),
                    reason: "it is missing, or marked as damaged".to_owned(),
                });
            }
        }
        Ok(())
    }
}

fn streams(point: &RecoveryPoint) -> impl Iterator<Item = &StreamRecord> {
    let disks = point.disks.iter().map(|disk| &disk.stream);
    disks.chain(&point.attachments)
}

impl PointReport {
    fn note_node(&mut self, stream: &StreamRecord, error: &Error) -> Result<()> {
        let (object, reason) = error.object_and_reason().ok_or_else(|| error.clone())?;
        self.add(DamagedChunk {
            chunk: "of a manifest".to_owned(),
            stream: stream.name.clone(),
            offset: 0,
            object,
            reason,
        });
        Ok(())
    }
}
