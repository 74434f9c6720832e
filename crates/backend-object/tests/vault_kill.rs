//! A writer that is killed at a random moment, on a directory and on S3: what it was told is committed
//! is there, whole, and the next writer goes on.
//!
//! The writer is a process of its own, this program's `child_writes_forever`; it runs the production
//! path with small packs, so that there are many moments. `cargo xtask soak vault-kill` runs this in
//! large numbers: `TRESOR_KILL_RUNS`, `TRESOR_KILL_SEED`, and `TRESOR_KILL_FIGURES` for a file of
//! figures.
#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "tests may panic"
)]

mod support;
#[path = "../../vault/tests/support/mod.rs"]
mod vault_support;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tresor_backend::wrap::{Backoff, Retrying};
use tresor_backend::{Backend, LocalBackend};
use tresor_model::{PointId, SessionId};
use tresor_testkit::stores::Moto;
use tresor_vault::{CreateOptions, SessionOptions, Vault, verify_objects};
use vault_support::{CHUNK, key, name, noise, point, read_all};

const PLACE: &str = "TRESOR_KILL_PLACE";
const VERSION: &str = "TRESOR_KILL_VERSION";
/// Chunks of the disk.
const CHUNKS: u64 = 128;
/// A vault is left for a new one after so many kills: what is checked after each grows.
const PER_VAULT: u64 = 20;

/// A directory, or the URL of an S3 server with the bucket's place behind `|`.
async fn open(place: &str) -> Arc<dyn Backend> {
    match place.split_once('|') {
        Some((server, url)) => {
            Arc::new(Retrying::new(support::s3(server, url), Backoff::default()))
        }
        None => Arc::new(LocalBackend::create(place.as_ref()).await.unwrap()),
    }
}

/// The disk at a version: each version changes about a quarter of the chunks.
fn generation(chunk: u64, version: u64) -> u64 {
    let changed = |version: &u64| *version == 0 || mix(chunk, *version).is_multiple_of(4);
    (0..=version).rev().find(changed).unwrap_or(0)
}

fn mix(a: u64, b: u64) -> u64 {
    let mut word = a.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ b.wrapping_mul(0xd1b5_4a32_d192_ed03);
    word ^= word >> 29;
    word = word.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word ^ (word >> 32)
}

fn content(chunk: u64, version: u64) -> Vec<u8> {
    noise(
        mix(chunk + 1, generation(chunk, version) + 1),
        CHUNK as usize,
    )
}

fn changed(version: u64) -> u64 {
    let fresh = |chunk: &u64| version == 0 || generation(*chunk, version) == version;
    (0..CHUNKS).filter(fresh).count() as u64 * CHUNK
}

#[expect(
    clippy::print_stdout,
    reason = "standard output is the pipe to the parent"
)]
fn say(text: &str) {
    println!("SAID {text}");
}

/// Run by the parent only: there is nothing here that could fail by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the writer that `a_killed_writer_loses_nothing` starts and kills"]
async fn child_writes_forever() {
    let place = std::env::var(PLACE).unwrap();
    let first: u64 = std::env::var(VERSION).unwrap().parse().unwrap();
    let vault = Vault::open(open(&place).await, &key()).await.unwrap();
    say("started");
    for version in first.. {
        let mut options = SessionOptions::new(SessionId::generate());
        options.pack_size = 256 << 10;
        let session = vault.begin_session(options).await.unwrap();
        let mut writer = session
            .stream(name("vda"), CHUNKS * CHUNK, None)
            .await
            .unwrap();
        for chunk in 0..CHUNKS {
            let bytes = Bytes::from(content(chunk, version));
            writer.write(chunk * CHUNK, bytes).await.unwrap();
        }
        let (record, stats) = writer.finish().await.unwrap();
        let id = session.id();
        let mut made = point(id, vec![record]);
        made.vm_name = version.to_string();
        session.commit(made).await.unwrap();
        say(&format!(
            "acked {version} {} {}",
            stats.new,
            PointId::from(id)
        ));
    }
}

/// What a killed writer had said.
struct Acked {
    version: u64,
    new: u64,
    point: String,
}

struct Writer(Child);

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Runs a writer until `moment` after its start, and kills it.
#[expect(
    clippy::disallowed_methods,
    reason = "the writer is another process; this thread has nothing else to do meanwhile"
)]
fn write_and_kill(place: &str, version: u64, moment: Duration) -> Vec<Acked> {
    let child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "child_writes_forever",
            "--ignored",
            "--nocapture",
        ])
        .env(PLACE, place)
        .env(VERSION, version.to_string())
        .stdout(Stdio::piped())
        .spawn();
    let mut writer = Writer(child.unwrap());
    let lines = BufReader::new(writer.0.stdout.take().unwrap()).lines();
    let mut said = lines
        .map_while(Result::ok)
        .filter_map(|line| Some(line.split_once("SAID ")?.1.to_owned()));
    assert_eq!(said.next().as_deref(), Some("started"));
    std::thread::sleep(moment);
    assert!(
        writer.0.try_wait().unwrap().is_none(),
        "the writer ended by itself"
    );
    writer.0.kill().unwrap();
    writer.0.wait().unwrap();
    said.map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        let [_, version, new, point] = words[..] else {
            panic!("{line}")
        };
        Acked {
            version: version.parse().unwrap(),
            new: new.parse().unwrap(),
            point: point.to_owned(),
        }
    })
    .collect()
}

#[derive(Default)]
struct Figures {
    kills: u64,
    acked: u64,
    /// Committed, and killed before it could say so.
    unheard: u64,
    /// Sessions that had not ended.
    open: u64,
    /// Bytes that a killed session had stored and the next one did not send again.
    resumed: u64,
    restored: u64,
}

/// Everything that must hold after a kill. `restored` are points that were compared before: objects
/// are write-once, and all are verified by their hashes.
async fn check(
    place: &str,
    acked: &BTreeMap<String, u64>,
    restored: &mut BTreeMap<String, u64>,
    figures: &mut Figures,
) {
    let backend = open(place).await;
    let report = verify_objects(backend.clone(), |_| ()).await.unwrap();
    assert!(report.damaged.is_empty(), "{:?}", report.damaged);
    assert!(report.foreign.is_empty(), "{:?}", report.foreign);
    figures.open = figures.open.max(report.open_sessions.len() as u64);
    let vault = Vault::open(backend, &key()).await.unwrap();
    let points = vault.points().await.unwrap();
    assert!(points.damaged.is_empty(), "{:?}", points.damaged);
    let there: BTreeMap<String, u64> = points
        .points
        .iter()
        .map(|point| (point.id.to_string(), point.vm_name.parse().unwrap()))
        .collect();
    for (id, version) in acked {
        assert_eq!(there.get(id), Some(version), "point {id} was acknowledged");
    }
    for (id, version) in &there {
        if restored.insert(id.clone(), *version).is_none() {
            let point = vault.point(id.parse().unwrap()).await.unwrap();
            let disk = read_all(&vault, &point.disks[0].stream).await.unwrap();
            for (chunk, bytes) in (0..).zip(disk.chunks(CHUNK as usize)) {
                assert!(bytes == content(chunk, *version), "chunk {chunk} of {id}");
            }
            figures.restored += 1;
        }
    }
    figures.unheard = (there.len() - acked.len()) as u64;
}

/// Says what a failed run was derived from.
struct Seed(u64);

impl Drop for Seed {
    #[expect(clippy::print_stderr, reason = "what repeats a failed test")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("TRESOR_KILL_SEED={}", self.0);
        }
    }
}

/// Kills writers of one vault so often; gives what was seen.
async fn kill_on(place: &str, kills: u64, seed: u64) -> Figures {
    let mut figures = Figures::default();
    Vault::create(open(place).await, CreateOptions::new(key()))
        .await
        .unwrap();
    let (mut acked, mut restored, mut next) = (BTreeMap::new(), BTreeMap::new(), 0);
    for kill in 0..kills {
        // Most of the time is the first milliseconds of a session; some kills come late.
        let span = [40, 150, 400][(mix(seed, kill + 1000) % 3) as usize];
        let moment = Duration::from_millis(mix(seed, kill) % span);
        let heard = write_and_kill(place, next, moment);
        for (nth, said) in heard.into_iter().enumerate() {
            let most = changed(said.version);
            assert!(
                said.new <= most,
                "version {} sent {} of {most}",
                said.version,
                said.new
            );
            if nth == 0 {
                figures.resumed += most - said.new;
            }
            next = said.version + 1;
            acked.insert(said.point, said.version);
        }
        check(place, &acked, &mut restored, &mut figures).await;
    }
    figures.kills = kills;
    figures.acked = acked.len() as u64;
    figures
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_writer_loses_nothing() {
    let (runs, seed) = (number("TRESOR_KILL_RUNS", 6), number("TRESOR_KILL_SEED", 1));
    let _said = Seed(seed);
    let dir = tempfile::tempdir().unwrap();
    let moto = Moto::start().unwrap();
    moto.make_bucket("bucket", false).await.unwrap();
    let mut rows = Vec::new();
    for (kind, kills) in [("directory", runs.div_ceil(2)), ("S3", runs / 2)] {
        let mut sum = Figures::default();
        for vault in 0..kills.div_ceil(PER_VAULT) {
            let here = PER_VAULT.min(kills - vault * PER_VAULT);
            let seed = mix(seed, vault);
            let place = match kind {
                "S3" => format!("{}|s3://bucket/v{vault}", moto.url()),
                _ => dir.path().join(format!("v{vault}")).display().to_string(),
            };
            let got = kill_on(&place, here, seed).await;
            sum.kills += got.kills;
            sum.acked += got.acked;
            sum.unheard += got.unheard;
            sum.open += got.open;
            sum.resumed += got.resumed;
            sum.restored += got.restored;
        }
        assert_eq!(sum.kills, kills, "seed {seed}");
        rows.push(serde_json::json!({
            "store": kind, "kills": sum.kills, "acknowledged": sum.acked,
            "committed_unheard": sum.unheard, "open_sessions": sum.open,
            "resumed_bytes": sum.resumed, "restored": sum.restored,
        }));
    }
    if let Some(file) = std::env::var_os("TRESOR_KILL_FIGURES") {
        std::fs::write(file, serde_json::to_vec(&rows).unwrap()).unwrap();
    }
}
