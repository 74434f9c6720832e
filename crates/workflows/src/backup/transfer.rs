//! "Transfer data to vault": what changed on each disk, and the machine's attachments.

use std::{path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use serde_json::{Value, json};
use tresor_disk::Session;
use tresor_jobs::{Scope, SubTask};
use tresor_model::{Attachment, DiskStats, Fact, StreamRecord};
use tresor_problem::Problem;
use tresor_transfer::{
    backup::transfer_file,
    pace::{GuestWatch, Pacer, watch_guest},
};
use tresor_vault::WriteSession;

use super::{BackupContext, context::handed_over, disk::Mover, impact};
use crate::translate::transfer_problem;

/// The fact about how the session's frames were coded: their number at each zstd level that the
/// bottleneck led to (`compressed`), and of those that are stored as they are (`raw`).
pub const COMPRESSION: &str = "vault.compression";

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

/// Moves everything while the guest is watched: reading is slowed down before the guest is.
async fn move_all(
    ctx: &mut BackupContext,
    writer: &WriteSession,
    snapshot: &dyn Session,
    scope: &Scope,
) -> Result<DiskStats, Problem> {
    let provider = Arc::clone(&ctx.services.provider);
    let pacer = Pacer::new(ctx.request.order.read_limit);
    let watch = GuestWatch::new(ctx.usual_write);
    let mover = Mover {
        writer,
        snapshot,
        pacer: &pacer,
        scope,
        all_bytes: snapshot.disks().iter().map(|disk| disk.size).sum(),
    };
    let total = tokio::select! {
        moved = move_streams(ctx, &mover) => moved?,
        never = watch_guest(provider.as_ref(), &pacer, &watch) => match never {},
    };
    let fact = impact::fact(&watch.governor(), ctx.usual_write, pacer.held());
    ctx.facts.push(fact);
    let levels = json!(writer.levels());
    let fact = Fact::present(COMPRESSION, levels, "tresor", jiff::Timestamp::now());
    ctx.facts.push(fact);
    Ok(total)
}

async fn move_streams(ctx: &mut BackupContext, mover: &Mover<'_>) -> Result<DiskStats, Problem> {
    let mut before = 0;
    let mut total = DiskStats::default();
    for disk in mover.snapshot.disks() {
        let record = mover.move_disk(ctx, disk, before).await?;
        total = total.plus(&record.stats);
        ctx.disks.push(record);
        before += disk.size;
    }
    move_attachments(ctx, mover.writer, mover.scope).await?;
    Ok(total)
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
