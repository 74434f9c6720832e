//! Every kind of object lost or damaged, and put right: by the next backup, and from a copy.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "tests may panic"
)]

mod support;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use support::{CHUNK, back_up, begin, key, memory_vault, name, noise, point, read_all, write_all};
use tresor_backend::{Backend, MemoryBackend, ObjectName};
use tresor_model::{Extent, RecoveryPoint, SessionId, StreamName, StreamRecord};
use tresor_vault::{
    CHUNK_SIZE, CollectOptions, Copies, CopyOptions, Heal, Instead, Losses, ReadBack, RepairTask,
    SessionOptions, StreamReader, Vault, copy_point, verify_objects,
};

const MIB: usize = 1 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Object {
    Data,
    Tree,
    Index,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Damage {
    Flip,
    Delete,
}

/// Two points of a disk, the second a change of the first, in a vault of which copies can be made.
struct Sample {
    backend: Arc<MemoryBackend>,
    points: [RecoveryPoint; 2],
    contents: [Vec<u8>; 2],
    /// What the first backup stored, by kind.
    objects: HashMap<&'static str, ObjectName>,
}

async fn largest_and_smallest(backend: &MemoryBackend) -> (ObjectName, ObjectName) {
    let mut packs = backend.list("packs/").await.unwrap();
    packs.sort_by_key(|pack| pack.size);
    (packs.last().unwrap().name.clone(), packs[0].name.clone())
}

impl Sample {
    async fn make() -> Self {
        let (backend, vault, _) = memory_vault().await;
        let mut content = noise(1, 20 * MIB + 5);
        content[6 * MIB..9 * MIB].fill(0);
        let first = back_up(&vault, &content).await;
        let (data, tree) = largest_and_smallest(&backend).await;
        let index = backend.list("index/").await.unwrap()[0].name.clone();
        let objects = HashMap::from([("data", data), ("tree", tree), ("index", index)]);
        let mut changed = content.clone();
        changed[12 * MIB..12 * MIB + CHUNK_SIZE].copy_from_slice(&noise(2, CHUNK_SIZE));
        let second = incremental(&vault, &first, &changed, 12 * MIB as u64, Heal::default()).await;
        Self {
            backend,
            points: [first, second],
            contents: [content, changed],
            objects,
        }
    }

    fn name(&self, object: Object) -> ObjectName {
        let kind = match object {
            Object::Data => "data",
            Object::Tree => "tree",
            Object::Index => "index",
        };
        self.objects[kind].clone()
    }

    async fn damage(&self, object: Object, damage: Damage) -> ObjectName {
        let name = self.name(object);
        match damage {
            Damage::Delete => self.backend.delete(&name).await.unwrap(),
            Damage::Flip => {
                let mut body = self.backend.get(&name, u64::MAX).await.unwrap().to_vec();
                // All over it: every frame of a pack, and not its footers alone.
                let step = if body.len() > MIB { MIB / 2 } else { 300 };
                (100..body.len()).step_by(step).for_each(|at| body[at] ^= 1);
                self.backend.overwrite(&name, Bytes::from(body));
            }
        }
        name
    }

    async fn open(&self) -> Vault {
        Vault::open(self.backend.clone(), &key()).await.unwrap()
    }

    /// Both points are read back, byte by byte.
    async fn check(&self, vault: &Vault, case: &str) {
        for (point, content) in self.points.iter().zip(&self.contents) {
            let read = read_all(vault, disk(point)).await;
            assert!(read.is_ok_and(|read| read == *content), "{case}");
            let report = vault.verify_point(point.id, |_| ()).await.unwrap();
            assert_eq!(report.damaged_count, 0, "{case}: {:?}", report.damaged);
        }
    }
}

fn disk(point: &RecoveryPoint) -> &StreamRecord {
    &point.disks[0].stream
}

/// A backup by change tracking: one chunk at `at`, and whatever `heal` asks for.
async fn incremental(
    vault: &Vault,
    before: &RecoveryPoint,
    content: &[u8],
    at: u64,
    heal: Heal,
) -> RecoveryPoint {
    backup_of(
        vault,
        before,
        content,
        &[Extent {
            start: at,
            length: CHUNK,
        }],
        heal,
    )
    .await
}

async fn backup_of(
    vault: &Vault,
    before: &RecoveryPoint,
    content: &[u8],
    extents: &[Extent],
    heal: Heal,
) -> RecoveryPoint {
    let mut options = SessionOptions::new(SessionId::generate());
    options.heal = heal;
    let session = vault.begin_session(options).await.unwrap();
    let size = content.len() as u64;
    let stream = session.stream(name("vda"), size, Some(disk(before))).await;
    let mut writer = stream.unwrap();
    for extent in extents {
        for start in (extent.start..extent.end()).step_by(MIB) {
            let end = extent.end().min(start + MIB as u64);
            let bytes = content[start as usize..end as usize].to_vec();
            writer.write(start, bytes.into()).await.unwrap();
        }
    }
    let (stream, _) = writer.finish().await.unwrap();
    let mut next = point(session.id(), vec![stream]);
    next.vm = before.vm;
    session.commit(next.clone()).await.unwrap();
    next
}

async fn losses(vault: &Vault, point: &RecoveryPoint) -> (Losses, Heal) {
    let mut survey = vault.survey().await.unwrap();
    let losses = survey.stream(disk(point)).await.unwrap();
    (losses, survey.heal())
}

fn eager() -> CollectOptions {
    CollectOptions {
        min_gain: 1,
        ..CollectOptions::default()
    }
}

/// Whatever was stored to heal must survive it.
async fn collect(vault: &Vault, case: &str) {
    let collected = vault.collect(&eager(), |_| ()).await;
    assert!(collected.is_ok(), "{case}: {collected:?}");
}

/// What verifying both points finds, as marks.
async fn find(vault: &Vault, sample: &Sample) {
    for point in &sample.points {
        let report = vault.verify_point(point.id, |_| ()).await.unwrap();
        let objects = report.damaged.iter().map(|damaged| damaged.object.as_str());
        vault.mark_damaged(objects).await.unwrap();
    }
}

/// The next backup of the same disk heals both points, whatever was lost; it reads no more of the
/// disk than that.
#[tokio::test(flavor = "multi_thread")]
async fn the_next_backup_heals() {
    for object in [Object::Data, Object::Tree, Object::Index] {
        for damage in [Damage::Flip, Damage::Delete] {
            let case = format!("{object:?} {damage:?}");
            let sample = Sample::make().await;
            let damaged = sample.damage(object, damage).await;
            let vault = sample.open().await;
            find(&vault, &sample).await;
            let [_, last] = &sample.points;
            let (lost, heal) = losses(&vault, last).await;
            if object == Object::Index {
                assert_eq!(
                    lost.bytes(),
                    0,
                    "{case}: an index can be made from the packs"
                );
            } else {
                assert!(lost.bytes() >= 15 * MIB as u64, "{case}: {lost:?}");
                assert_eq!(lost.objects, [damaged.as_str()], "{case}");
            }
            let [_, content] = &sample.contents;
            let healing = backup_of(&vault, last, content, &lost.extents, heal).await;
            // What healed the older points counts as used, though none of them says so. The first point
            // has lost a node for good with its tree pack: nobody knows what it needs, so nothing is freed.
            let again = sample.open().await;
            match again.collect(&eager(), |_| ()).await {
                Ok(_) => assert_ne!(object, Object::Tree, "{case}"),
                Err(error) => assert!(
                    object == Object::Tree && error.is_damage(),
                    "{case}: {error}"
                ),
            }
            let again = sample.open().await;
            assert_eq!(
                disk(&healing).root.as_ref().unwrap().id,
                disk(last).root.as_ref().unwrap().id
            );
            let before = again.read_around();
            assert!(
                read_all(&again, disk(&healing)).await.unwrap() == *content,
                "{case}"
            );
            assert_eq!(
                again.read_around(),
                before,
                "{case}: the new point needs no detour"
            );
            // One chunk of the first point is not on the disk any more.
            let [first, _] = &sample.points;
            let (lost, _) = losses(&again, first).await;
            if object == Object::Data {
                let changed = Extent {
                    start: 12 * MIB as u64,
                    length: CHUNK,
                };
                assert_eq!(lost.extents, [changed], "{case}");
            } else if object == Object::Tree {
                // Nor is the leaf above it, and the root: only a copy has them.
                assert!(lost.bytes() > 0, "{case}");
            } else {
                assert_eq!(lost.bytes(), 0, "{case}");
            }
            let (lost, _) = losses(&again, last).await;
            assert_eq!(lost.bytes(), 0, "{case}");
            let report = again.verify_point(last.id, |_| ()).await.unwrap();
            assert_eq!(report.damaged_count, 0, "{case}");
            let around: Vec<_> = report
                .around
                .iter()
                .map(|around| around.object.as_str())
                .collect();
            if object != Object::Index {
                assert_eq!(around, [damaged.as_str()], "{case}: superseded");
            }
        }
    }
}

/// A pack that is marked is stored again, and nobody takes what is in it for known; a mark that lies
/// costs no more than that.
#[tokio::test(flavor = "multi_thread")]
async fn a_mark_that_lies_costs_and_does_no_harm() {
    let sample = Sample::make().await;
    let vault = sample.open().await;
    let data = sample.name(Object::Data);
    assert_eq!(
        vault.mark_damaged([data.as_str(), "vault"]).await.unwrap(),
        1
    );
    assert_eq!(vault.mark_damaged([data.as_str()]).await.unwrap(), 1);
    assert_eq!(vault.marked_packs().await.unwrap().len(), 1);
    sample.check(&vault, "a mark").await;
    let session = begin(&vault).await;
    let [content, _] = &sample.contents;
    let (stream, stats) = write_all(&session, "vda", content, None, MIB)
        .await
        .unwrap();
    assert!(stats.new >= 16 * MIB as u64, "{stats:?}");
    let id = session.id();
    session
        .commit(point(id, vec![stream.clone()]))
        .await
        .unwrap();
    assert!(read_all(&vault, &stream).await.unwrap() == *content);
    let objects = verify_objects(sample.backend.clone(), |_| ())
        .await
        .unwrap();
    assert_eq!((objects.damaged, objects.foreign), (vec![], vec![]));
}

/// The copy of a point.
struct Second {
    vault: Vault,
    points: Vec<RecoveryPoint>,
}

impl Second {
    async fn of(sample: &Sample) -> Self {
        let (_backend, vault, _) = memory_vault().await;
        let first = sample.open().await;
        let mut points = Vec::new();
        for point in &sample.points {
            let options = CopyOptions {
                session: SessionOptions::new(SessionId::generate()),
                read_back: ReadBack::None,
            };
            let copied = copy_point(&first, &vault, point, None, options, |_| ()).await;
            points.push(copied.unwrap().0);
        }
        Self { vault, points }
    }

    fn of_point(&self, number: usize) -> Arc<dyn Copies> {
        Arc::new(CopyOfPoint {
            vault: self.vault.clone(),
            point: self.points[number].clone(),
        })
    }
}

struct CopyOfPoint {
    vault: Vault,
    point: RecoveryPoint,
}

impl Copies for CopyOfPoint {
    fn stream<'a>(&'a self, name: &'a StreamName) -> BoxFuture<'a, Option<(StreamReader, String)>> {
        async move {
            let disk = disk(&self.point);
            let reader = self.vault.reader(disk).ok()?;
            (disk.name == *name).then(|| (reader, "second".to_owned()))
        }
        .boxed()
    }
}

/// A restore takes what is lost from the copy, chunk by chunk, and says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_falls_back_to_the_copy() {
    for object in [Object::Data, Object::Tree] {
        for damage in [Damage::Flip, Damage::Delete] {
            let case = format!("{object:?} {damage:?}");
            let sample = Sample::make().await;
            let second = Second::of(&sample).await;
            let damaged = sample.damage(object, damage).await;
            for number in [0, 1] {
                let point = &sample.points[number];
                let content = &sample.contents[number];
                let alone = sample.open().await;
                assert!(read_all(&alone, disk(point)).await.is_err(), "{case}");
                let vault = sample.open().await.with_copies(second.of_point(number));
                let read = read_all(&vault, disk(point)).await;
                assert!(read.unwrap() == *content, "{case}");
                let reader = vault.reader(disk(point)).unwrap();
                let at = 3 * MIB as u64 + 77;
                let part = reader.read_at(at, MIB).await.unwrap();
                assert!(part == content[at as usize..at as usize + MIB], "{case}");
                let whole = Extent::between(0, content.len() as u64);
                let there = second.vault.reader(disk(&second.points[number])).unwrap();
                let expected = there.extents(whole).await.unwrap();
                assert_eq!(reader.extents(whole).await.unwrap(), expected, "{case}");
                let around = vault.read_around();
                let from_copy = around
                    .iter()
                    .find(|around| around.object == damaged.as_str());
                let from_copy = from_copy.unwrap_or_else(|| panic!("{case}: {around:?}"));
                assert_eq!(
                    from_copy.instead,
                    Instead::Copy("second".to_owned()),
                    "{case}"
                );
                assert!(from_copy.bytes > MIB as u64, "{case}: {from_copy:?}");
            }
        }
    }
}

/// A copy that holds other bytes is found out by this vault's ids.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_lies_is_not_believed() {
    let sample = Sample::make().await;
    let mut second = Second::of(&sample).await;
    let (_backend, vault, _) = memory_vault().await;
    let other = back_up(&vault, &noise(99, sample.contents[0].len())).await;
    second = Second {
        vault,
        points: vec![other.clone(), other, second.points.remove(0)],
    };
    sample.damage(Object::Data, Damage::Delete).await;
    let first = sample.open().await.with_copies(second.of_point(0));
    assert!(read_all(&first, disk(&sample.points[0])).await.is_err());
    let (losses, heal) = losses(&first, &sample.points[0]).await;
    let options = SessionOptions::new(SessionId::generate());
    let session = first.begin_repair(options, heal).await.unwrap();
    let task = RepairTask {
        stream: disk(&sample.points[0]),
        losses: &losses,
        copy: second.vault.reader(disk(&second.points[0])).unwrap(),
    };
    let error = session.repair_stream(task, |_| ()).await.unwrap_err();
    assert!(
        error.to_string().contains("does not hold the same bytes"),
        "{error}"
    );
    session.finish_repair().await.unwrap();
}

/// Everything that the damage touched is read back afterwards, without the copy; the damaged object
/// is all that is left of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_repair_from_the_copy_heals_all_points() {
    for object in [Object::Data, Object::Tree, Object::Index] {
        for damage in [Damage::Flip, Damage::Delete] {
            let case = format!("{object:?} {damage:?}");
            let sample = Sample::make().await;
            let second = Second::of(&sample).await;
            let damaged = sample.damage(object, damage).await;
            let vault = sample.open().await;
            find(&vault, &sample).await;
            let mut survey = vault.survey().await.unwrap();
            let mut lost = Vec::new();
            for point in &sample.points {
                lost.push(survey.stream(disk(point)).await.unwrap());
            }
            let options = SessionOptions::new(SessionId::generate());
            let session = vault
                .begin_repair(options, survey.heal_nodes())
                .await
                .unwrap();
            for (number, losses) in lost.iter().enumerate() {
                let task = RepairTask {
                    stream: disk(&sample.points[number]),
                    losses,
                    copy: second.vault.reader(disk(&second.points[number])).unwrap(),
                };
                session.repair_stream(task, |_| ()).await.unwrap();
            }
            session.finish_repair().await.unwrap();
            let again = sample.open().await;
            sample.check(&again, &case).await;
            let report = verify_objects(sample.backend.clone(), |_| ())
                .await
                .unwrap();
            let left: Vec<_> = report
                .damaged
                .iter()
                .map(|left| left.object.as_str())
                .collect();
            assert_eq!(left, [damaged.as_str()], "{case}");
            for point in &sample.points {
                assert_eq!(losses(&again, point).await.0.bytes(), 0, "{case}");
            }
            if object != Object::Index {
                let around = again.read_around();
                assert!(
                    around
                        .iter()
                        .all(|around| around.object == damaged.as_str()),
                    "{case}"
                );
                assert!(
                    around
                        .iter()
                        .all(|around| around.instead == Instead::Elsewhere)
                );
                assert!(!around.is_empty(), "{case}");
            }
            // Collect makes the detours the way, and forgets what is gone.
            collect(&again, &case).await;
            let again = sample.open().await;
            sample.check(&again, &case).await;
            if damage == Damage::Delete {
                assert_eq!(again.read_around(), [], "{case}");
                assert!(again.marked_packs().await.unwrap().is_empty(), "{case}");
                let report = verify_objects(sample.backend.clone(), |_| ()).await;
                assert_eq!(report.unwrap().damaged, [], "{case}");
            }
        }
    }
}
