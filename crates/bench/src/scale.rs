//! What a vault costs as it grows to many recovery points of large disks.
//!
//! The points are made by the production commit path: sessions over streams of a TiB, with tiny
//! content. They are made in memory, since ten thousand sessions on a disk are an hour of waiting for
//! it; the objects are then written to a directory, where opening and listing are timed.

use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use tresor_backend::wrap::{Kept, Metered, Verb};
use tresor_backend::{Backend, LocalBackend, MemoryBackend};
use tresor_disk::SnapshotDisk;
use tresor_model::{
    DiskStats, JobId, PointId, ReadMode, SessionId, SnapshotTag, StreamName, StreamRecord,
    TrackingLedger, TrackingSigns, VmId,
};
use tresor_transfer::backup::DiskTransfer;
use tresor_vault::{CHUNK_SIZE, CollectOptions, CreateOptions, KeyMaterial, SessionOptions, Vault};
use uuid::Uuid;

use crate::index::{peak_mib, resident_mib};
use crate::point;

/// Size of a disk.
const DISK: u64 = 1 << 40;
/// VMs that take turns.
const VMS: u64 = 100;
/// Of so many points one has a change, a chunk; the other disks are as they were.
const CHANGES: u64 = 10;
/// Chunks of the change whose metadata is measured: 64 MiB, all over the disk.
const SCATTERED: u64 = 1024;

type Store = Arc<Metered<MemoryBackend>>;

/// Makes points up to `most`, and says at each power of ten what things cost.
pub(crate) async fn measure(dir: &Path, most: u64) -> Result<()> {
    let store: Store = Arc::new(Metered::new(MemoryBackend::new()));
    let scratch = tempfile::tempdir_in(dir).context("no room for a vault")?;
    let mut vault = Growing::create(Arc::clone(&store), scratch.path()).await?;
    let mut out = io::stdout();
    writeln!(
        out,
        "| points | logical TiB | objects | MiB | open, ms | list, ms | list first, ms | list again, ms | begin, ms | commit of nothing: puts, KiB | commit of 64 MiB: puts, metadata KiB | plan of collect, ms | its memory, MiB | RSS MiB |"
    )?;
    writeln!(
        out,
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|"
    )?;
    let mut next = 100.min(most);
    for number in 0..=most {
        if number == next {
            let nothing = vault.commit(0, 0).await?;
            let much = vault.commit(0, SCATTERED).await?;
            let there = on_disk(&store, scratch.path(), vault.shown).await?;
            let (plan_ms, plan_mib) = vault.plan_collect().await?;
            writeln!(
                out,
                "| {number} | {number} | {} | {:.0} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} | {}, {:.1} | {}, {:.1} | {plan_ms:.0} | {plan_mib} | {} |",
                there.objects,
                there.bytes as f64 / 1_048_576.0,
                there.open_ms,
                there.plain_ms,
                there.list_ms,
                there.again_ms,
                much.begin_ms,
                nothing.puts,
                nothing.metadata as f64 / 1024.0,
                much.puts,
                much.metadata as f64 / 1024.0,
                resident_mib()?,
            )?;
            out.flush()?;
            next = (next * 10).min(most);
        }
        if number < most {
            vault
                .commit(
                    number % VMS,
                    u64::from(number % CHANGES == 0 || number < VMS),
                )
                .await?;
        }
    }
    Ok(())
}

/// What a commit took.
struct Cost {
    begin_ms: f64,
    puts: u64,
    /// Bytes of all objects but the data's.
    metadata: u64,
}

struct Growing {
    store: Store,
    vault: Vault,
    cache: std::path::PathBuf,
    /// Where each VM's disk stands.
    disks: Vec<Option<(PointId, StreamRecord)>>,
    seed: u64,
    /// Points that are there and have not expired.
    shown: u64,
}

impl Growing {
    async fn create(store: Store, scratch: &Path) -> Result<Self> {
        let backend: Arc<dyn Backend> = store.clone();
        let (vault, _) = Vault::create(backend, CreateOptions::new(key())).await?;
        Ok(Self {
            store,
            vault,
            cache: scratch.join("index-cache"),
            disks: vec![None; usize::try_from(VMS)?],
            seed: 1,
            shown: 0,
        })
    }

    /// A point of a VM in whose disk so many chunks have changed.
    async fn commit(&mut self, vm: u64, chunks: u64) -> Result<Cost> {
        let before = self.store.snapshot().of(Verb::Put);
        let id = SessionId::generate();
        let mut options = SessionOptions::new(id);
        options.index_cache = Some(self.cache.clone());
        let place = usize::try_from(vm)?;
        let last = self.disks[place].clone();
        options.base = last.as_ref().map(|(point, _)| *point);
        let base = last.map(|(_, stream)| stream);
        let begin = Instant::now();
        let session = self.vault.begin_session(options).await?;
        let begin_ms = ms(begin);
        let mut stream = session
            .stream(StreamName::new("vda")?, DISK, base.as_ref())
            .await?;
        for number in 0..chunks {
            let offset = number * (DISK / chunks.max(1)) + self.seed % 8 * CHUNK_SIZE as u64;
            stream.write(offset, noise(&mut self.seed)).await?;
        }
        let (record, stats) = stream.finish().await?;
        self.disks[place] = Some((id.into(), record.clone()));
        let moved = DiskTransfer {
            stream: record,
            stats: DiskStats {
                changed: stats.read,
                read: stats.read,
                zero: stats.zero,
                new: stats.new,
                stored: stats.stored,
            },
            compared: 0,
        };
        let mut point = point::of_disk(id, None, &disk()?, moved);
        point.vm = VmId::from_uuid(Uuid::from_u128(u128::from(vm) + 1));
        session.commit(point).await?;
        self.shown += 1;
        let after = self.store.snapshot().of(Verb::Put);
        // Noise does not compress: a chunk is as long in its pack as it was, but for the seal.
        let data = chunks * CHUNK_SIZE as u64;
        Ok(Cost {
            begin_ms,
            puts: after.calls - before.calls,
            metadata: (after.bytes - before.bytes).saturating_sub(data),
        })
    }
}

impl Growing {
    /// What a collect would free, when one VM of the vault's has gone: milliseconds, and the MiB by which
    /// memory grew at most.
    async fn plan_collect(&mut self) -> Result<(f64, u64)> {
        let list = self.vault.points().await?;
        let gone = VmId::from_uuid(Uuid::from_u128(u128::from(VMS)));
        for point in list.points.iter().filter(|point| point.vm == gone) {
            self.vault.expire(point.id).await?;
            self.shown -= 1;
        }
        self.disks[usize::try_from(VMS - 1)?] = None;
        drop(list);
        let before = resident_mib()?;
        // Resets the peak: proc(5).
        std::fs::write("/proc/self/clear_refs", "5").context("the peak cannot be reset")?;
        let begin = Instant::now();
        let options = CollectOptions::default();
        let plan = self.vault.plan_collect(&options, |_| ()).await?;
        let took = ms(begin);
        ensure!(plan.sessions > 0, "nothing has expired");
        Ok((took, peak_mib()?.saturating_sub(before)))
    }
}

/// What is timed in a directory.
struct There {
    objects: usize,
    bytes: u64,
    open_ms: f64,
    /// Without copies, nothing cached.
    plain_ms: f64,
    /// Keeping copies, nothing cached.
    list_ms: f64,
    /// By the copies.
    again_ms: f64,
}

/// Writes all objects to a new directory; opens and lists there, with nothing cached at first.
async fn on_disk(store: &Store, scratch: &Path, points: u64) -> Result<There> {
    let dir = scratch.join("vault");
    LocalBackend::create(&dir).await?;
    let listed = store.list("").await?;
    for meta in &listed {
        let path = dir.join(meta.name.as_str());
        std::fs::create_dir_all(path.parent().context("an object has a directory")?)?;
        std::fs::write(path, store.get(&meta.name, meta.size).await?)?;
    }
    drop_caches()?;
    let begin = Instant::now();
    let vault = Vault::open(Arc::new(LocalBackend::open(&dir).await?), &key()).await?;
    let open_ms = ms(begin);
    let plain_ms = list(&vault, points).await?;
    drop(vault);
    drop_caches()?;
    let backend = LocalBackend::open(&dir).await?;
    let copies = scratch.join("copies");
    let kept: Arc<dyn Backend> = Arc::new(Kept::new(backend, copies.clone(), &["sessions/"]));
    let vault = Vault::open(kept, &key()).await?;
    let list_ms = list(&vault, points).await?;
    let again_ms = list(&vault, points).await?;
    std::fs::remove_dir_all(&dir)?;
    std::fs::remove_dir_all(&copies)?;
    Ok(There {
        objects: listed.len(),
        bytes: listed.iter().map(|meta| meta.size).sum(),
        open_ms,
        plain_ms,
        list_ms,
        again_ms,
    })
}

fn drop_caches() -> Result<()> {
    rustix::fs::sync();
    std::fs::write("/proc/sys/vm/drop_caches", "3").context("only root can drop caches")
}

/// Lists so many points or more; gives the milliseconds.
async fn list(vault: &Vault, points: u64) -> Result<f64> {
    let begin = Instant::now();
    let list = vault.points().await?;
    let time = ms(begin);
    ensure!(list.damaged.is_empty(), "a point is damaged");
    let found = list.points.len() as u64;
    ensure!(found >= points, "{found} of {points} points are listed");
    Ok(time)
}

fn ms(begin: Instant) -> f64 {
    begin.elapsed().as_secs_f64() * 1000.0
}

fn key() -> KeyMaterial {
    KeyMaterial::KeyFile(vec![7; 32].into())
}

fn disk() -> Result<SnapshotDisk> {
    Ok(SnapshotDisk {
        name: StreamName::new("vda")?,
        size: DISK,
        read_mode: ReadMode::Incremental {
            bitmap: "made up".to_owned(),
        },
        tracking: TrackingLedger {
            bitmap: None,
            tag: SnapshotTag::of_job(JobId::generate()),
            granularity: 65_536,
            persistent: false,
            image: String::new(),
            size: DISK,
            signs: TrackingSigns::default(),
        },
    })
}

/// A chunk that no other is like.
fn noise(seed: &mut u64) -> Bytes {
    let mut bytes = vec![0; CHUNK_SIZE];
    *seed += 1;
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for word in bytes.chunks_exact_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        word.copy_from_slice(&state.to_le_bytes());
    }
    bytes.into()
}
