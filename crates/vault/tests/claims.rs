//! What other machines of the domain say to have stored is looked at once before it is relied on, and
//! then never again; what they lie about costs a copy of its own.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "tests may panic"
)]

#[path = "support/hostile.rs"]
mod hostile;
mod support;

use std::path::Path;
use std::sync::Arc;

use hostile::Hostile;
use support::{CHUNK, eager, key, memory_vault, noise, point, read_all, write_all};
use tempfile::TempDir;
use tresor_backend::wrap::{Metered, Verb};
use tresor_backend::{Backend, MemoryBackend, ObjectName};
use tresor_model::{JobId, RecoveryPoint, SessionId, SnapshotTag};
use tresor_vault::{CHUNK_SIZE, Doubt, SessionOptions, StreamStats, Vault};
use tresor_vault_format::{PackTail, name};

const MIB: usize = 1 << 20;
/// More than the footers of a few packs of nodes take.
const FOOTERS: u64 = 64 << 10;

/// A machine: what it keeps on its disk. Each piece of work opens the vault anew, as a program does.
struct Machine {
    backend: Arc<MemoryBackend>,
    cache: TempDir,
}

/// What a backup came to.
struct Run {
    point: RecoveryPoint,
    stats: StreamStats,
    doubts: Vec<Doubt>,
    /// Bytes that were read from packs.
    read: u64,
    sent: u64,
}

impl Machine {
    fn new(backend: &Arc<MemoryBackend>) -> Self {
        Self {
            backend: Arc::clone(backend),
            cache: tempfile::tempdir().unwrap(),
        }
    }

    async fn open(&self) -> (Arc<Metered<Arc<MemoryBackend>>>, Vault) {
        let store = Arc::new(Metered::new(Arc::clone(&self.backend)));
        let vault = Vault::open(Arc::clone(&store) as _, &key()).await.unwrap();
        (store, vault)
    }

    async fn back_up(&self, content: &[u8]) -> Run {
        let (store, vault) = self.open().await;
        let before = store.snapshot();
        let mut options = SessionOptions::new(SessionId::generate());
        options.index_cache = Some(self.cache.path().to_owned());
        options.pack_size = 4 * MIB;
        let session = vault.begin_session(options).await.unwrap();
        let written = write_all(&session, "vda", content, None, MIB).await;
        let (disk, stats) = written.unwrap();
        let doubts = session.doubts();
        let made = point(session.id(), vec![disk]);
        session.commit(made.clone()).await.unwrap();
        let now = store.snapshot();
        let bytes = |verb| now.of(verb).bytes - before.of(verb).bytes;
        Run {
            point: made,
            stats,
            doubts,
            read: bytes(Verb::GetRange),
            sent: bytes(Verb::Put),
        }
    }

    /// Reads a point back from a vault that was just opened; nothing may have to be read elsewhere.
    async fn assert_whole(&self, point: &RecoveryPoint, content: &[u8]) {
        let (_, vault) = self.open().await;
        let found = vault.point(point.id).await.unwrap();
        let read = read_all(&vault, &found.disks[0].stream).await.unwrap();
        assert!(read == content);
        assert_eq!(vault.read_around(), []);
    }

    async fn marked(&self) -> Vec<String> {
        let (_, vault) = self.open().await;
        let marked = vault.marked_packs().await.unwrap();
        marked.into_iter().collect()
    }
}

async fn first_pack(backend: &MemoryBackend) -> String {
    let packs = backend.list("packs/").await.unwrap();
    let largest = packs.iter().max_by_key(|meta| meta.size).unwrap();
    largest.name.as_str().to_owned()
}

fn id_of(object: &str) -> String {
    name::parse_pack(object).unwrap().to_string()
}

/// Where one machine writes, nothing is ever read to be believed.
#[tokio::test(flavor = "multi_thread")]
async fn a_machine_believes_itself() {
    let (backend, _, _) = memory_vault().await;
    let machine = Machine::new(&backend);
    let content = noise(1, 9 * MIB);
    let first = machine.back_up(&content).await;
    assert_eq!((first.stats.new, first.read), (9 * MIB as u64, 0));
    // Nor when all of the index cache but the list of what it wrote is lost, or another machine has
    // written the index anew: that knows what lies in which pack.
    for again in ["as it is", "without tables", "without index runs"] {
        if again == "without tables" {
            for dir in std::fs::read_dir(machine.cache.path()).unwrap() {
                std::fs::remove_file(dir.unwrap().path().join("state")).unwrap();
            }
        }
        if again == "without index runs" {
            for run in backend.list("index/").await.unwrap() {
                backend.delete(&run.name).await.unwrap();
            }
            for dir in std::fs::read_dir(machine.cache.path()).unwrap() {
                std::fs::remove_file(dir.unwrap().path().join("state")).unwrap();
            }
        }
        let next = machine.back_up(&content).await;
        assert_eq!(next.stats.new, 0, "{again}");
        // Footers, where there is no run.
        assert!(next.read < FOOTERS, "{again}: {} read", next.read);
        machine.assert_whole(&next.point, &content).await;
    }
}

/// What collect moves it has read: the machine that collects goes on believing it, another looks once.
#[tokio::test(flavor = "multi_thread")]
async fn what_collect_moved_is_not_read_again() {
    let (backend, _, _) = memory_vault().await;
    let (one, other) = (Machine::new(&backend), Machine::new(&backend));
    let all = noise(20, 12 * MIB);
    let every_other = all.chunks(CHUNK_SIZE).step_by(2);
    let half: Vec<u8> = every_other.flatten().copied().collect();
    let whole = one.back_up(&all).await;
    one.back_up(&half).await;

    let (_, vault) = one.open().await;
    vault.remember_in(one.cache.path());
    vault.expire(whole.point.id).await.unwrap();
    let report = vault.collect(&eager(), |_| ()).await.unwrap();
    let moved = report.choice.unwrap().moved_bytes;
    assert!(moved > 6 * MIB as u64, "{moved} moved");

    let next = one.back_up(&half).await;
    assert_eq!(next.stats.new, 0);
    assert!(next.read < FOOTERS, "{} read", next.read);
    let first = other.back_up(&half).await;
    assert_eq!(first.stats.new, 0);
    assert!(first.read > 5 * MIB as u64, "{} read", first.read);
}

/// A clone on another machine: what is there is read once, and not sent.
#[tokio::test(flavor = "multi_thread")]
async fn what_another_machine_stored_is_looked_at_once() {
    let (backend, _, _) = memory_vault().await;
    let (one, other) = (Machine::new(&backend), Machine::new(&backend));
    let image = noise(2, 24 * MIB);
    one.back_up(&image).await;
    let mut clone = image.clone();
    clone[3 * MIB..3 * MIB + CHUNK_SIZE].copy_from_slice(&noise(3, CHUNK_SIZE));
    clone[9 * MIB..10 * MIB].copy_from_slice(&noise(4, MIB));
    let own = MIB as u64 + CHUNK;
    let first = other.back_up(&clone).await;
    assert_eq!((first.stats.new, first.doubts.as_slice()), (own, &[][..]));
    assert!(first.sent < own + 100_000, "{} sent", first.sent);
    let stored = 24 * MIB as u64;
    assert!(
        first.read > stored / 2 && first.read < stored + stored / 10,
        "{} read of {stored}",
        first.read
    );
    other.assert_whole(&first.point, &clone).await;

    let second = other.back_up(&clone).await;
    assert_eq!(second.stats.new, 0);
    assert!(second.read < FOOTERS, "{} read", second.read);
    // What lay beside it in the same frames was verified with it.
    let third = other.back_up(&image).await;
    assert_eq!(third.stats.new, 0);
    assert!(
        third.read <= MIB as u64 + MIB as u64 / 2,
        "{} read",
        third.read
    );
    // The state directory is lost: read again, and not sent.
    let fresh = Machine::new(&backend);
    let lost = fresh.back_up(&clone).await;
    assert_eq!(lost.stats.new, 0);
    assert!(lost.read > stored / 2, "{} read", lost.read);
    assert!(fresh.back_up(&clone).await.read < FOOTERS);
    assert!(other.marked().await.is_empty());
}

/// Streams at once that meet the same claims read each frame once.
#[tokio::test(flavor = "multi_thread")]
async fn streams_at_once_read_a_frame_once() {
    let (backend, _, _) = memory_vault().await;
    let image = noise(5, 16 * MIB);
    Machine::new(&backend).back_up(&image).await;
    let other = Machine::new(&backend);
    let (store, vault) = other.open().await;
    let mut options = SessionOptions::new(SessionId::generate());
    options.index_cache = Some(other.cache.path().to_owned());
    let session = vault.begin_session(options).await.unwrap();
    let disks = ["vda", "vdb", "vdc"];
    let writes = disks.map(|disk| write_all(&session, disk, &image, None, MIB));
    let written = futures::future::try_join_all(writes).await.unwrap();
    assert!(written.iter().all(|(_, stats)| stats.new == 0));
    let read = store.snapshot().of(Verb::GetRange).bytes;
    assert!(read < 17 * MIB as u64, "{read} read");
    let records = written.into_iter().map(|(record, _)| record).collect();
    let made = point(session.id(), records);
    session.commit(made.clone()).await.unwrap();
    for disk in &made.disks {
        assert!(read_all(&vault, &disk.stream).await.unwrap() == image);
    }
}

/// Lies in packs, with and without a run: the backup stores its own copy, the lie is named and marked,
/// and the next backup has no trouble with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_pack_that_lies_is_named_and_marked_and_harms_nobody() {
    for with_run in [true, false] {
        let (backend, _, _) = memory_vault().await;
        let victim = Machine::new(&backend);
        victim.back_up(&noise(6, 5 * MIB)).await;
        let hostile = Hostile::new(&backend, &key()).await;
        // Of a part, so that the rest is stored beside it.
        let content = noise(7, 12 * MIB);
        let lie = if with_run {
            hostile.plant(&content[2 * MIB..9 * MIB]).await
        } else {
            hostile.plant_pack(&content[2 * MIB..9 * MIB]).await.0
        };
        let run = victim.back_up(&content).await;
        assert_eq!(run.stats.new, 12 * MIB as u64);
        let [doubt] = &run.doubts[..] else {
            panic!("{:?}", run.doubts)
        };
        assert!(doubt.object == lie && doubt.marked, "{doubt:?}");
        assert!(doubt.reason.contains("does not hold chunk"), "{doubt:?}");
        assert_eq!(victim.marked().await, [id_of(&lie)]);
        assert!(run.read < 10 * MIB as u64, "{} read", run.read);
        victim.assert_whole(&run.point, &content).await;
        let next = victim.back_up(&content).await;
        assert_eq!((next.stats.new, next.doubts.len()), (0, 0));
        victim.assert_whole(&next.point, &content).await;
        // Another machine sees the mark, and believes none of it.
        let third = Machine::new(&backend);
        let run = third.back_up(&content).await;
        assert_eq!((run.stats.new, run.doubts.len()), (0, 0));
        third.assert_whole(&run.point, &content).await;
    }
}

/// A run that lies about somebody's good pack: the pack is not marked for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_lies_does_not_discredit_the_pack() {
    let (backend, _, _) = memory_vault().await;
    let (victim, other) = (Machine::new(&backend), Machine::new(&backend));
    let theirs = noise(8, 3 * MIB);
    other.back_up(&theirs).await;
    let pack = first_pack(&backend).await;
    let object = ObjectName::new(&pack).unwrap();
    let bytes = backend.get(&object, 1 << 30).await.unwrap();
    let frame = PackTail::of_whole(&bytes).unwrap().frames()[0].location;
    let hostile = Hostile::new(&backend, &key()).await;
    for (seed, at) in [
        (9, (frame.offset, frame.length)),
        // No frame at all.
        (10, (frame.offset + 7, frame.length)),
        (11, (frame.offset, 3)),
    ] {
        let content = noise(seed, MIB);
        hostile.slander(&pack, at, &content).await;
        let run = victim.back_up(&content).await;
        assert_eq!(run.stats.new, MIB as u64, "{at:?}");
        let [doubt] = &run.doubts[..] else {
            panic!("{at:?}: {:?}", run.doubts)
        };
        assert!(doubt.object == pack && !doubt.marked, "{doubt:?}");
        victim.assert_whole(&run.point, &content).await;
    }
    assert!(victim.marked().await.is_empty());
    let run = victim.back_up(&theirs).await;
    assert_eq!((run.stats.new, run.doubts.len()), (0, 0));
    victim.assert_whole(&run.point, &theirs).await;
}

/// Nobody adds a chunk to a pack of ours by a run of his, nor takes one from it.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_lies_about_our_own_pack_is_not_heard() {
    let (backend, _, _) = memory_vault().await;
    let victim = Machine::new(&backend);
    let ours = noise(12, 3 * MIB);
    victim.back_up(&ours).await;
    let pack = first_pack(&backend).await;
    let hostile = Hostile::new(&backend, &key()).await;
    let content = noise(13, MIB);
    hostile.slander(&pack, (48, MIB as u32), &content).await;
    for tables in ["kept", "lost"] {
        if tables == "lost" {
            for dir in std::fs::read_dir(victim.cache.path()).unwrap() {
                std::fs::remove_file(dir.unwrap().path().join("state")).unwrap();
            }
        }
        let run = victim.back_up(&ours).await;
        assert_eq!((run.stats.new, run.doubts.len()), (0, 0), "{tables}");
    }
    let run = victim.back_up(&content).await;
    assert_eq!((run.stats.new, run.doubts.len()), (MIB as u64, 0));
    victim.assert_whole(&run.point, &content).await;
}

/// A bit that flipped in another machine's pack is found before anything rests on it.
#[tokio::test(flavor = "multi_thread")]
async fn damage_in_another_machines_pack_is_not_built_on() {
    let (backend, _, _) = memory_vault().await;
    let (one, other) = (Machine::new(&backend), Machine::new(&backend));
    let content = noise(14, 3 * MIB);
    one.back_up(&content).await;
    let pack = first_pack(&backend).await;
    let object = ObjectName::new(&pack).unwrap();
    let mut bytes = backend.get(&object, 1 << 30).await.unwrap().to_vec();
    bytes[2000] ^= 1;
    backend.delete(&object).await.unwrap();
    backend.put(&object, bytes.into()).await.unwrap();
    let run = other.back_up(&content).await;
    assert!(run.stats.new >= MIB as u64, "{:?}", run.stats);
    assert!(run.doubts[0].marked && run.doubts[0].object == pack);
    assert_eq!(other.marked().await, [id_of(&pack)]);
    let next = other.back_up(&content).await;
    other.assert_whole(&next.point, &content).await;
}

/// What a machine has read back in a verification it need not look at again.
#[tokio::test(flavor = "multi_thread")]
async fn a_verification_counts_as_a_look() {
    let (backend, _, _) = memory_vault().await;
    let (one, other) = (Machine::new(&backend), Machine::new(&backend));
    let content = noise(15, 7 * MIB);
    let theirs = one.back_up(&content).await;
    let watch = async |machine: &Machine| {
        let (_, vault) = machine.open().await;
        vault.watch_verified(machine.cache.path()).await.unwrap();
        let report = vault.verify_point(theirs.point.id, |_| ()).await.unwrap();
        assert_eq!(report.damaged_count, 0);
        vault.keep_verified()
    };
    assert_eq!(watch(&one).await, 0, "its own");
    assert_eq!(watch(&other).await, 7 * 16);
    assert_eq!(watch(&other).await, 0, "seen before");
    let run = other.back_up(&content).await;
    assert_eq!(run.stats.new, 0);
    assert!(run.read < FOOTERS, "{} read", run.read);
    other.assert_whole(&run.point, &content).await;
}

/// Trees are built on by who wrote them, or where a tag means one session only.
#[tokio::test(flavor = "multi_thread")]
async fn a_machine_knows_its_own_points() {
    let (backend, _, _) = memory_vault().await;
    let (one, other) = (Machine::new(&backend), Machine::new(&backend));
    let made = one.back_up(&noise(16, MIB)).await.point;
    let stream = &made.disks[0].stream;
    let wrote = async |machine: &Machine, cache: &Path| {
        let (_, vault) = machine.open().await;
        vault.remember_in(cache);
        vault.wrote(stream)
    };
    assert!(wrote(&one, one.cache.path()).await);
    assert!(!wrote(&other, other.cache.path()).await);
    assert!(!wrote(&one, other.cache.path()).await);

    let (_, vault) = other.open().await;
    let tag = SnapshotTag::of_job(JobId::from_uuid(*made.id.as_uuid()));
    let only = async || vault.is_only_of_tag(&made, &tag).await.unwrap();
    assert!(only().await);
    let another = SnapshotTag::of_job(JobId::generate());
    assert!(!vault.is_only_of_tag(&made, &another).await.unwrap());
    // Anybody can make a session that has the tag. Then it means nothing.
    let mut forged = *SessionId::generate().as_uuid().as_bytes();
    forged[10..].copy_from_slice(&made.id.as_uuid().as_bytes()[10..]);
    let forged = SessionId::from_uuid(uuid::Uuid::from_bytes(forged));
    let session = vault.begin_session(SessionOptions::new(forged)).await;
    session.unwrap().abort().await.unwrap();
    assert!(!only().await);
}
