//! Measures the data path on an image: full backup, incremental by a list of changes, restore,
//! verify. Prints wall, user and system seconds, bytes stored and the peak memory so far.
//!
//! `backup_image DIR day1.raw [day2.raw day2.changed.json] [--level N] [--no-restore]`
#![allow(clippy::print_stdout, reason = "a program that prints")]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use rustix::fs::SeekFrom;
use tokio::sync::mpsc;
use tresor_backend::{Backend, LocalBackend};
use tresor_model::{Extent, RecoveryPoint, SessionId, StreamName, StreamRecord};
use tresor_vault::{
    CHUNK_SIZE, CreateOptions, KeyMaterial, Level, SessionOptions, StreamStats, Vault,
};

#[path = "../tests/support/mod.rs"]
mod support;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Bytes of one read of the image.
const READ: u64 = 1 << 20;
const PAGES: &str = "/proc/self/status";

struct Args {
    dir: PathBuf,
    images: Vec<PathBuf>,
    level: i32,
    restore: bool,
}

fn main() -> Outcome<()> {
    let mut args = Args {
        dir: PathBuf::new(),
        images: Vec::new(),
        level: 3,
        restore: true,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--level" => args.level = words.next().ok_or("--level N")?.parse()?,
            "--no-restore" => args.restore = false,
            path if args.dir.as_os_str().is_empty() => args.dir = path.into(),
            path => args.images.push(path.into()),
        }
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(measure(&args))
}

async fn measure(args: &Args) -> Outcome<()> {
    let backend: Arc<dyn Backend> = Arc::new(LocalBackend::create(&args.dir).await?);
    let key = KeyMaterial::KeyFile(vec![7; 32].into());
    let (vault, _) = Vault::create(backend, CreateOptions::new(key)).await?;
    let day1 = args.images.first().ok_or("which image?")?;
    let clock = Clock::start();
    let extents = data_extents(day1)?;
    let (full, stats) = back_up(&vault, day1, extents, None, args.level).await?;
    clock.print(&format!("full, zstd {}", args.level), &stats);
    let mut last = full;
    if let [_, day2, changed] = args.images.as_slice() {
        let clock = Clock::start();
        let (point, stats) = back_up(
            &vault,
            day2,
            changed_extents(changed)?,
            Some(&last),
            args.level,
        )
        .await?;
        clock.print("incremental", &stats);
        last = point;
    }
    if args.restore {
        let clock = Clock::start();
        let to = args.dir.with_extension("restored");
        let read = restore(&vault, &last.disks[0].stream, &to).await?;
        clock.print(
            "restore",
            &StreamStats {
                read,
                ..StreamStats::default()
            },
        );
        std::fs::remove_file(to)?;
    }
    Ok(())
}

async fn back_up(
    vault: &Vault,
    image: &Path,
    extents: Vec<Extent>,
    base: Option<&RecoveryPoint>,
    level: i32,
) -> Outcome<(RecoveryPoint, StreamStats)> {
    let file = File::open(image)?;
    let size = file.metadata()?.len();
    let mut options = SessionOptions::new(SessionId::generate());
    options.level = Level::Fixed(level);
    let session = vault.begin_session(options).await?;
    let base = base.map(|point| &point.disks[0].stream);
    let mut writer = session.stream(StreamName::new("vda")?, size, base).await?;
    let (sender, mut pieces) = mpsc::channel::<std::io::Result<(u64, Bytes)>>(2);
    let reading = tokio::task::spawn_blocking(move || {
        for extent in extents {
            let mut at = extent.start;
            while at < extent.end() {
                let part = Extent {
                    start: at,
                    length: READ,
                }
                .intersect(&extent);
                let mut bytes = BytesMut::zeroed(usize::try_from(part.length).unwrap_or(0));
                let read = file.read_exact_at(&mut bytes, at);
                if sender
                    .blocking_send(read.map(|()| (at, bytes.freeze())))
                    .is_err()
                {
                    return;
                }
                at = part.end();
            }
        }
    });
    while let Some(piece) = pieces.recv().await {
        let (offset, bytes) = piece?;
        writer.write(offset, bytes).await?;
    }
    reading.await?;
    let (record, stats) = writer.finish().await?;
    let point = support::point(session.id(), vec![record]);
    session.commit(point.clone()).await?;
    Ok((point, stats))
}

async fn restore(vault: &Vault, stream: &StreamRecord, to: &Path) -> Outcome<u64> {
    let file = Arc::new(File::create(to)?);
    file.set_len(stream.size)?;
    let mut fetch = vault
        .reader(stream)?
        .fetch(Extent::between(0, stream.size), 4);
    let mut read = 0;
    let mut writes = tokio::task::JoinSet::new();
    while let Some(piece) = fetch.next().await {
        let piece = piece?;
        read += piece.bytes.len() as u64;
        let file = Arc::clone(&file);
        if writes.len() >= 4 {
            writes.join_next().await.ok_or("a write")???;
        }
        writes.spawn_blocking(move || file.write_all_at(&piece.bytes, piece.offset));
    }
    while let Some(written) = writes.join_next().await {
        written??;
    }
    tokio::task::spawn_blocking(move || file.sync_all()).await??;
    Ok(read)
}

/// What `SEEK_DATA` finds, widened to chunks.
fn data_extents(image: &Path) -> Outcome<Vec<Extent>> {
    let file = File::open(image)?;
    let size = file.metadata()?.len();
    let mut extents = Vec::new();
    let mut at = 0;
    while let Ok(start) = rustix::fs::seek(&file, SeekFrom::Data(at)) {
        let end = rustix::fs::seek(&file, SeekFrom::Hole(start))?;
        extents.push(Extent::between(start, end));
        at = end;
    }
    Ok(aligned(extents, size))
}

fn changed_extents(list: &Path) -> Outcome<Vec<Extent>> {
    let list: serde_json::Value = serde_json::from_reader(File::open(list)?)?;
    let size = list["virtual-size"].as_u64().ok_or("virtual-size")?;
    let extents = list["extents"].as_array().ok_or("extents")?;
    let extent = |value: &serde_json::Value| {
        let (start, length) = (value["start"].as_u64()?, value["length"].as_u64()?);
        (value["dirty"] == true).then_some(Extent { start, length })
    };
    Ok(aligned(extents.iter().filter_map(extent).collect(), size))
}

fn aligned(extents: Vec<Extent>, size: u64) -> Vec<Extent> {
    let set = tresor_model::ExtentSet::from_unsorted(extents).align_out(CHUNK_SIZE as u64, size);
    set.iter().copied().collect()
}

struct Clock {
    wall: Instant,
    cpu: (f64, f64),
}

impl Clock {
    fn start() -> Self {
        Self {
            wall: Instant::now(),
            cpu: cpu_seconds(),
        }
    }

    fn print(&self, what: &str, stats: &StreamStats) {
        let (user, sys) = cpu_seconds();
        let mib = |bytes: u64| bytes >> 20;
        println!(
            "{what}: wall {:.2} s, user {:.2} s, sys {:.2} s, read {} MiB, zero {} MiB, new {} MiB, \
             stored {} MiB, peak {} MiB",
            self.wall.elapsed().as_secs_f64(),
            user - self.cpu.0,
            sys - self.cpu.1,
            mib(stats.read),
            mib(stats.zero),
            mib(stats.new),
            mib(stats.stored),
            peak_mib(),
        );
    }
}

/// User and system time of this process, from fields 14 and 15 of its stat (ticks of 10 ms).
fn cpu_seconds() -> (f64, f64) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let ticks = |at: usize| {
        fields
            .get(at)
            .and_then(|text| text.parse::<f64>().ok())
            .unwrap_or(0.0)
    };
    (ticks(11) / 100.0, ticks(12) / 100.0)
}

fn peak_mib() -> u64 {
    let status = std::fs::read_to_string(PAGES).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|text| {
        text.trim()
            .trim_end_matches("kB")
            .trim()
            .parse::<u64>()
            .ok()
    });
    kib.unwrap_or(0) >> 10
}
