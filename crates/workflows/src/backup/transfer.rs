//! "Transfer data to vault": what changed on each disk, and the machine's attachments.

use std::{
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use serde_json::{Value, json};
use tresor_disk::{Session, SnapshotDisk};
use tresor_jobs::{Scope, SubTask};
use tresor_model::{Attachment, DiskRecord, DiskStats, ReadMode, StreamRecord};
use tresor_problem::Problem;
use tresor_transfer::backup::{transfer_disk, transfer_file};
use tresor_vault::WriteSession;

use super::{BackupContext, context::handed_over};
use crate::{translate::transfer_problem, watch::watched};

pub(super) struct TransferData {
    pub(super) limit: Duration,
}

#[async_trait]
impl SubTask<BackupContext> for TransferData {
    fn name(&self) -> &'static str {
        "Transfer data to vault"
    }

    fn limit(&self) -> Option<Duration> {
        Some(self.limit)
    }

    async fn run(&self, ctx: &mut BackupContext, scope: &Scope) -> Result<Value, Problem> {
        let writer = handed_over(ctx.writer.take(), "a vault session")?;
        let snapshot = handed_over(ctx.snapshot.take(), "a snapshot")?;
        let moved = move_all(ctx, &writer, snapshot.as_ref(), scope).await;
        ctx.writer = Some(writer);
        ctx.snapshot = Some(snapshot);
        let total = moved?;
        Ok(json!(total))
    }
}

async fn move_all(
    ctx: &mut BackupContext,
    writer: &WriteSession,
    snapshot: &dyn Session,
    scope: &Scope,
) -> Result<DiskStats, Problem> {
    let all_bytes: u64 = snapshot.disks().iter().map(|disk| disk.size).sum();
    let mut before = 0;
    let mut total = DiskStats::default();
    for disk in snapshot.disks() {
        let base = base_of(ctx, disk);
        let stream = writer
            .stream(disk.name.clone(), disk.size, base.as_ref())
            .await;
        let stream = stream.map_err(|error| ctx.vault_problem(&error))?;
        let done = AtomicU64::new(0);
        let transfer = transfer_disk(snapshot, disk, stream, &done, scope.cancel());
        let moved = watched(transfer, || {
            let at = before + done.load(Ordering::Relaxed);
            scope.progress(at, Some(all_bytes), format!("disk {}", disk.name));
        })
        .await
        .map_err(|error| transfer_problem(&error, ctx))?;
        total = total.plus(&moved.stats);
        ctx.disks.push(DiskRecord {
            stream: moved.stream,
            read_mode: disk.read_mode.clone(),
            tracking: disk.tracking.clone(),
            stats: moved.stats,
        });
        before += disk.size;
    }
    move_attachments(ctx, writer, scope).await?;
    Ok(total)
}

/// The stream whose unchanged parts are taken over: only an incremental read has one.
fn base_of(ctx: &BackupContext, disk: &SnapshotDisk) -> Option<StreamRecord> {
    match disk.read_mode {
        ReadMode::Full { .. } => None,
        ReadMode::Incremental { .. } => {
            let disks = &ctx.parent.as_ref()?.disks;
            let name = ctx.bases.get(&disk.name)?;
            disks
                .iter()
                .find(|record| record.stream.name == *name)
                .map(|record| record.stream.clone())
        }
    }
}

/// Stores the machine's own files. One that cannot be read does not cost the recovery point: it
/// is left out of the definition, with a warning.
async fn move_attachments(
    ctx: &mut BackupContext,
    writer: &WriteSession,
    scope: &Scope,
) -> Result<(), Problem> {
    let Some(described) = ctx.described.as_mut() else {
        return Ok(());
    };
    let wanted = std::mem::take(&mut described.machine.attachments);
    let mut kept = Vec::with_capacity(wanted.len());
    for attachment in wanted {
        match move_attachment(writer, &attachment).await {
            Ok(stream) => {
                ctx.attachments.push(stream);
                kept.push(attachment);
            }
            Err(error) if matches!(error.kind, tresor_transfer::ErrorKind::File { .. }) => {
                let text = format!(
                    "{} ({}) could not be read and is not in the recovery point",
                    attachment.name, attachment.path
                );
                ctx.warn(scope, text);
            }
            Err(error) => return Err(transfer_problem(&error, ctx)),
        }
    }
    if let Some(described) = ctx.described.as_mut() {
        described.machine.attachments = kept;
    }
    Ok(())
}

async fn move_attachment(
    writer: &WriteSession,
    attachment: &Attachment,
) -> Result<StreamRecord, tresor_transfer::Error> {
    let stream = writer
        .stream(attachment.name.clone(), attachment.size, None)
        .await;
    let stream = stream.map_err(|error| tresor_transfer::Error {
        kind: tresor_transfer::ErrorKind::Vault(error),
        stream: attachment.name.to_string(),
    })?;
    let path = Path::new(&attachment.path);
    transfer_file(path, &attachment.name, attachment.size, stream).await
}
