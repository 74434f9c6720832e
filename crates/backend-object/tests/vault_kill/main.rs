//! A writer and a collector that are killed at random moments, on a directory and on S3: what the writer
//! was told is committed is there, whole, unless it was expired; and whoever comes next goes on.
//!
//! They run the production path in processes of their own (`children.rs`), with small packs, so that
//! there are many moments. `cargo xtask soak vault-kill` runs this in large numbers: `TRESOR_KILL_RUNS`,
//! `TRESOR_KILL_SEED`, and `TRESOR_KILL_FIGURES` for a file of figures.
#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "tests may panic"
)]

mod children;
mod disk;
#[path = "../support/mod.rs"]
mod support;
#[path = "../../../vault/tests/support/mod.rs"]
mod vault_support;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::AddAssign;
use std::sync::Arc;
use std::time::Duration;

use tresor_backend::wrap::{Backoff, Retrying};
use tresor_backend::{Backend, LocalBackend};
use tresor_testkit::stores::Moto;
use tresor_vault::{CreateOptions, Vault, verify_objects};

use children::Running;
use disk::{changed, content, mix};
use vault_support::{CHUNK, key, read_all};

/// A vault is left for a new one after so many kills: some begin with an empty one.
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

/// How many times as long everything takes there as on a directory.
fn slowness(place: &str) -> u32 {
    if place.contains('|') { 10 } else { 1 }
}

#[derive(Default, serde::Serialize)]
struct Figures {
    kills: u64,
    acknowledged: u64,
    /// Committed, and killed before it could say so.
    committed_unheard: u64,
    /// Most sessions that had not ended.
    open_sessions: u64,
    /// Bytes that a killed session had stored and the next one did not send again.
    resumed_bytes: u64,
    restored: u64,
    /// Sessions that a collector took for dead while their writer lived.
    lost_sessions: u64,
    freed_packs: u64,
}

impl AddAssign for Figures {
    fn add_assign(&mut self, other: Self) {
        self.kills += other.kills;
        self.acknowledged += other.acknowledged;
        self.committed_unheard += other.committed_unheard;
        self.open_sessions = self.open_sessions.max(other.open_sessions);
        self.resumed_bytes += other.resumed_bytes;
        self.restored += other.restored;
        self.lost_sessions += other.lost_sessions;
        self.freed_packs += other.freed_packs;
    }
}

/// One vault, and what is known of it.
struct Story {
    place: String,
    /// Points of which a commit was acknowledged, with their versions.
    acked: BTreeMap<String, u64>,
    /// Points that a collector was about to expire.
    expired: BTreeSet<String>,
    /// Points that are there and of which nobody was told.
    unheard: BTreeSet<String>,
    /// The writer's next version.
    next: u64,
    figures: Figures,
}

impl Story {
    async fn begin(place: String) -> Self {
        let options = CreateOptions::new(key());
        Vault::create(open(&place).await, options).await.unwrap();
        Self {
            place,
            acked: BTreeMap::new(),
            expired: BTreeSet::new(),
            unheard: BTreeSet::new(),
            next: 0,
            figures: Figures::default(),
        }
    }

    /// Runs both until their moments, and kills them.
    #[expect(
        clippy::disallowed_methods,
        reason = "they are other processes; this thread has nothing else to do meanwhile"
    )]
    fn kill(&mut self, [writers, collectors]: [Duration; 2]) {
        let mut writer = Running::writer(&self.place, self.next);
        let mut collector = Running::collector(&self.place);
        writer.started();
        collector.started();
        let first = writers.min(collectors);
        std::thread::sleep(first);
        if writers == first {
            let wrote = writer.kill();
            std::thread::sleep(collectors - first);
            self.hear_collector(&collector.kill());
            self.hear_writer(&wrote);
        } else {
            let freed = collector.kill();
            std::thread::sleep(writers - first);
            self.hear_writer(&writer.kill());
            self.hear_collector(&freed);
        }
        self.figures.kills += 1;
    }

    fn hear_writer(&mut self, said: &[Vec<String>]) {
        let mut is_first = true;
        for words in said {
            let [_, version, new, point] = &words[..] else {
                self.figures.lost_sessions += 1;
                continue;
            };
            let (version, new): (u64, u64) = (version.parse().unwrap(), new.parse().unwrap());
            let most = changed(version);
            assert!(new <= most, "version {version} sent {new} of {most}");
            if is_first {
                self.figures.resumed_bytes += most - new;
            }
            is_first = false;
            self.next = version + 1;
            self.figures.acknowledged += 1;
            self.acked.insert(point.clone(), version);
        }
    }

    fn hear_collector(&mut self, said: &[Vec<String>]) {
        for words in said {
            match &words[0][..] {
                "expires" => drop(self.expired.insert(words[1].clone())),
                _ => self.figures.freed_packs += words[1].parse::<u64>().unwrap(),
            }
        }
    }

    /// Everything that must hold after a kill.
    async fn check(&mut self) {
        let backend = open(&self.place).await;
        let report = verify_objects(backend.clone(), |_| ()).await.unwrap();
        assert!(report.damaged.is_empty(), "{:?}", report.damaged);
        assert!(report.foreign.is_empty(), "{:?}", report.foreign);
        let open = report.open_sessions.len() as u64;
        self.figures.open_sessions = self.figures.open_sessions.max(open);
        let vault = Vault::open(backend, &key()).await.unwrap();
        assert_eq!(vault.marked_packs().await.unwrap(), BTreeSet::new());
        let points = vault.points().await.unwrap();
        assert!(points.damaged.is_empty(), "{:?}", points.damaged);
        let versions = points.points.iter();
        let there: BTreeMap<String, u64> = versions
            .map(|point| (point.id.to_string(), point.vm_name.parse().unwrap()))
            .collect();
        for (id, version) in &self.acked {
            if !self.expired.contains(id) {
                assert_eq!(there.get(id), Some(version), "point {id} was acknowledged");
            }
        }
        for (id, version) in &there {
            let point = vault.point(id.parse().unwrap()).await.unwrap();
            let disk = read_all(&vault, &point.disks[0].stream).await.unwrap();
            for (chunk, bytes) in (0..).zip(disk.chunks(CHUNK as usize)) {
                assert!(bytes == content(chunk, *version), "chunk {chunk} of {id}");
            }
            self.figures.restored += 1;
            if !self.acked.contains_key(id) {
                self.unheard.insert(id.clone());
            }
        }
    }
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

/// Kills those who use one vault so often; gives what was seen.
async fn kill_on(place: String, kills: u64, seed: u64) -> Figures {
    let mut story = Story::begin(place).await;
    for kill in 0..kills {
        // Most of the time is the first milliseconds of a session; some kills come late.
        let moment = |salt: u64| {
            let span = [40, 100, 250, 600][(mix(seed, kill + salt) % 4) as usize];
            let at_directory = Duration::from_millis(mix(seed, kill + salt + 1000) % span);
            at_directory * slowness(&story.place)
        };
        story.kill([moment(0), moment(100_000)]);
        story.check().await;
    }
    story.figures.committed_unheard = story.unheard.len() as u64;
    story.figures
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_by_kills() {
    let (runs, seed) = (number("TRESOR_KILL_RUNS", 6), number("TRESOR_KILL_SEED", 1));
    let _said = Seed(seed);
    let dir = tempfile::tempdir().unwrap();
    let moto = Moto::start().unwrap();
    moto.make_bucket("bucket", false).await.unwrap();
    let mut rows = BTreeMap::new();
    for (store, kills) in [("directory", runs.div_ceil(2)), ("S3", runs / 2)] {
        let mut sum = Figures::default();
        for vault in 0..kills.div_ceil(PER_VAULT) {
            let here = PER_VAULT.min(kills - vault * PER_VAULT);
            let place = match store {
                "S3" => format!("{}|s3://bucket/v{vault}", moto.url()),
                _ => dir.path().join(format!("v{vault}")).display().to_string(),
            };
            sum += kill_on(place, here, mix(seed, vault)).await;
        }
        assert_eq!(sum.kills, kills, "seed {seed}");
        rows.insert(store, sum);
    }
    if let Some(file) = std::env::var_os("TRESOR_KILL_FIGURES") {
        std::fs::write(file, serde_json::to_vec(&rows).unwrap()).unwrap();
    }
}
