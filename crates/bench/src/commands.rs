//! The commands.

use std::{
    fs,
    path::Path,
    sync::{Arc, atomic::AtomicU64},
};

use anyhow::{Context as _, Result};
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tresor_backend::LocalBackend;
use tresor_disk::Session as _;
use tresor_model::{DiskRecord, DiskStats, Extent, ReadMode, RecoveryPoint, SessionId, StreamName};
use tresor_transfer::{
    backup::{Ending, Scope, Transfer},
    pace::Pacer,
    restore::{ImageFormat, RestoreProgress, Target, restore_stream},
};
use tresor_vault::{CreateOptions, KeyMaterial, Level, SessionOptions, Vault};
use zeroize::Zeroizing;

use crate::{VaultArgs, changes, point, session::FileSession};

/// Frames that a verification reads at once, as that of `tresor` does.
const READS: usize = 4;

/// What a command moved, in bytes.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Figures {
    /// Read of the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) read: Option<u64>,
    /// Of these, all zeros.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) zero: Option<u64>,
    /// Of these, not in the vault before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) new: Option<u64>,
    /// Written to the vault for them, compressed and sealed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stored: Option<u64>,
    /// How its frames were coded, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) levels: Option<String>,
    /// Written to the restored image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) written: Option<u64>,
    /// Half of the random reads took no longer, in µs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) median_us: Option<u64>,
    /// 99 of 100 took no longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) p99_us: Option<u64>,
}

/// Makes an empty vault in a directory that is empty or not there.
pub(crate) async fn create(args: &VaultArgs) -> Result<()> {
    let backend = LocalBackend::create(&args.vault).await?;
    let options = CreateOptions::new(key(&args.key_file)?);
    Vault::create(Arc::new(backend), options).await?;
    Ok(())
}

/// Backs an image up: all of it, or the extents in the file `changed` against the last point.
pub(crate) async fn backup(
    args: &VaultArgs,
    image: &Path,
    changed: Option<&Path>,
) -> Result<Figures> {
    let vault = open(args).await?;
    let size = fs::metadata(image)
        .with_context(|| format!("no image {}", image.display()))?
        .len();
    let changed = changed.map(|list| changes::load(list, size)).transpose()?;
    let parent = match changed {
        Some(_) => Some(last_point(&vault).await?),
        None => None,
    };
    let base = parent
        .as_ref()
        .map(the_disk)
        .transpose()?
        .map(|record| record.stream.clone());
    let snapshot = FileSession::open(image, StreamName::new("disk")?, changed)?;
    let [disk] = snapshot.disks() else {
        anyhow::bail!("an image is one disk")
    };

    let id = SessionId::generate();
    let mut options = SessionOptions::new(id);
    options.level = args.level.map_or(Level::Adaptive, Level::Fixed);
    options.base = parent.as_ref().map(|parent| parent.id);
    // As `tresor backup` has one; each command is a process of its own.
    options.index_cache = Some(args.vault.with_extension("index-cache"));
    let writer = vault.begin_session(options).await?;
    let stream = writer
        .stream(disk.name.clone(), disk.size, base.as_ref())
        .await?;
    let transfer = Transfer {
        lost: &[],
        session: &snapshot,
        disk,
        scope: match disk.read_mode {
            ReadMode::Incremental { .. } => Scope::Changed(None),
            ReadMode::Full { .. } => Scope::Everything,
        },
        pacer: &Pacer::new(None),
        done: &AtomicU64::new(0),
        cancel: &CancellationToken::new(),
    };
    let Ending::Moved(moved) = transfer.run(stream).await? else {
        anyhow::bail!("nothing was compared")
    };
    let DiskStats {
        zero, new, stored, ..
    } = moved.stats;
    let parent = parent.map(|point| point.id);
    let levels = writer.levels().to_string();
    writer
        .commit(point::of_disk(id, parent, disk, moved))
        .await?;
    Ok(Figures {
        read: Some(snapshot.bytes_read()),
        zero: Some(zero),
        new: Some(new),
        stored: Some(stored),
        levels: Some(levels),
        ..Figures::default()
    })
}

/// Restores the last point's disk.
pub(crate) async fn restore(args: &VaultArgs, to: &Path) -> Result<Figures> {
    let vault = open(args).await?;
    let point = last_point(&vault).await?;
    let target = Target {
        path: to.to_owned(),
        format: ImageFormat::Raw,
        overwrite: false,
    };
    let progress = RestoreProgress::default();
    let cancel = CancellationToken::new();
    restore_stream(
        &vault,
        &the_disk(&point)?.stream,
        &target,
        &progress,
        &cancel,
    )
    .await?;
    Ok(Figures {
        written: Some(progress.written.into_inner()),
        ..Figures::default()
    })
}

/// Reads the last point back.
pub(crate) async fn verify(args: &VaultArgs) -> Result<Figures> {
    let vault = open(args).await?;
    let point = last_point(&vault).await?;
    let stream = &the_disk(&point)?.stream;
    let whole = Extent::between(0, stream.size);
    let mut pieces = vault.reader(stream)?.fetch(whole, READS);
    while let Some(piece) = pieces.next().await {
        piece?; // every chunk is checked before it is given out
    }
    Ok(Figures::default())
}

/// Reads every object, as whoever stores the vault can.
pub(crate) async fn verify_objects(args: &VaultArgs) -> Result<Figures> {
    let backend = LocalBackend::open(&args.vault).await?;
    let report = tresor_vault::verify_objects(Arc::new(backend), |_| {}).await?;
    anyhow::ensure!(report.damaged.is_empty(), "damaged: {:?}", report.damaged);
    Ok(Figures::default())
}

pub(crate) async fn open(args: &VaultArgs) -> Result<Vault> {
    let backend = LocalBackend::open(&args.vault).await?;
    Ok(Vault::open(Arc::new(backend), &key(&args.key_file)?).await?)
}

fn key(path: &Path) -> Result<KeyMaterial> {
    let bytes = fs::read(path).with_context(|| format!("no key file {}", path.display()))?;
    Ok(KeyMaterial::KeyFile(Zeroizing::new(bytes)))
}

pub(crate) async fn last_point(vault: &Vault) -> Result<RecoveryPoint> {
    let points = vault.points().await?.points;
    let last = points.iter().max_by_key(|point| (point.taken_at, point.id));
    let last = last.context("the vault has no recovery point")?;
    Ok(vault.point(last.id).await?)
}

pub(crate) fn the_disk(point: &RecoveryPoint) -> Result<&DiskRecord> {
    point
        .disks
        .first()
        .context("the recovery point has no disk")
}
