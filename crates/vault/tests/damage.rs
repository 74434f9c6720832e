//! Every kind of object, damaged in every way: it is found, named, and touches nothing else.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "tests may panic"
)]

mod support;

use std::sync::Arc;

use bytes::Bytes;
use support::{back_up, key, memory_vault, noise, read_all};
use tresor_backend::{Backend, MemoryBackend, ObjectName};
use tresor_model::RecoveryPoint;
use tresor_vault::{ErrorKind, Vault, verify_objects};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Damage {
    FlipFirst,
    FlipMiddle,
    FlipLast,
    Truncate,
    Empty,
    Delete,
    /// Replaced by a good object of the same kind: of another session, or of another vault.
    Swap,
}

const ALL: [Damage; 7] = [
    Damage::FlipFirst,
    Damage::FlipMiddle,
    Damage::FlipLast,
    Damage::Truncate,
    Damage::Empty,
    Damage::Delete,
    Damage::Swap,
];

/// Two recovery points that share nothing.
struct Sample {
    backend: Arc<MemoryBackend>,
    points: [RecoveryPoint; 2],
    contents: [Vec<u8>; 2],
    /// Objects that the first backup added, then those of the second.
    added: [Vec<String>; 2],
}

async fn names(backend: &MemoryBackend) -> Vec<String> {
    let listed = backend.list("").await.unwrap();
    listed
        .into_iter()
        .map(|meta| meta.name.as_str().to_owned())
        .collect()
}

async fn get(backend: &MemoryBackend, object: &str) -> Bytes {
    backend
        .get(&ObjectName::new(object).unwrap(), u64::MAX)
        .await
        .unwrap()
}

impl Sample {
    async fn make() -> Self {
        let (backend, vault, _) = memory_vault().await;
        let contents = [noise(1, 6 << 20), noise(2, 6 << 20)];
        let before = names(&backend).await;
        let first = back_up(&vault, &contents[0]).await;
        let between = names(&backend).await;
        let second = back_up(&vault, &contents[1]).await;
        let after = names(&backend).await;
        let new = |of: &[String], than: &[String]| {
            of.iter()
                .filter(|name| !than.contains(name))
                .cloned()
                .collect()
        };
        let added = [new(&between, &before), new(&after, &between)];
        Self {
            backend,
            points: [first, second],
            contents,
            added,
        }
    }

    /// A vault of its own with the same objects, one of them damaged.
    async fn damaged(&self, object: &str, damage: Damage, other: &Bytes) -> Arc<MemoryBackend> {
        let copy = Arc::new(MemoryBackend::new());
        for name in names(&self.backend).await {
            let body = get(&self.backend, &name).await;
            copy.put(&ObjectName::new(name).unwrap(), body)
                .await
                .unwrap();
        }
        let name = ObjectName::new(object).unwrap();
        let mut body = get(&copy, object).await.to_vec();
        let (middle, last) = (body.len() / 2, body.len() - 1);
        match damage {
            Damage::FlipFirst => body[0] ^= 1,
            Damage::FlipMiddle => body[middle] ^= 0x40,
            Damage::FlipLast => body[last] ^= 0x80,
            Damage::Truncate => body.truncate(last),
            Damage::Empty => body.clear(),
            Damage::Swap => body = other.to_vec(),
            Damage::Delete => {
                copy.delete(&name).await.unwrap();
                return copy;
            }
        }
        copy.overwrite(&name, Bytes::from(body));
        copy
    }

    fn object(&self, of: usize, prefix: &str, ending: &str) -> String {
        let found = self.added[of].iter();
        let mut found = found.filter(|name| name.starts_with(prefix) && name.ends_with(ending));
        found.next().unwrap().clone()
    }

    /// The packs of a point: the largest is data, the smallest the tree.
    async fn pack(&self, of: usize, tree: bool) -> String {
        let mut packs = Vec::new();
        for name in self.added[of]
            .iter()
            .filter(|name| name.starts_with("packs/"))
        {
            packs.push((get(&self.backend, name).await.len(), name.clone()));
        }
        packs.sort();
        assert_eq!(packs.len(), 2);
        packs.swap_remove(usize::from(!tree)).1
    }
}

async fn keyless(backend: &Arc<MemoryBackend>) -> Vec<String> {
    match verify_objects(Arc::clone(backend) as _, |_| ()).await {
        Ok(report) => report
            .damaged
            .into_iter()
            .map(|found| found.object)
            .collect(),
        Err(error) if *error.kind() == ErrorKind::NotAVault => vec!["vault".to_owned()],
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_vault_has_no_damage() {
    let sample = Sample::make().await;
    assert!(keyless(&sample.backend).await.is_empty());
    let vault = Vault::open(sample.backend.clone(), &key()).await.unwrap();
    for (point, content) in sample.points.iter().zip(&sample.contents) {
        let report = vault.verify_point(point.id, |_| ()).await.unwrap();
        assert_eq!(
            (report.damaged_count, report.bytes),
            (0, content.len() as u64)
        );
    }
}

/// A point's own objects: the damage is found without keys, named by whoever reads the point,
/// and the other point is not touched.
#[tokio::test(flavor = "multi_thread")]
async fn damage_to_one_point_is_named_and_stays_with_it() {
    let sample = Sample::make().await;
    let kinds = [
        (sample.pack(0, false).await, sample.pack(1, false).await),
        (sample.pack(0, true).await, sample.pack(1, true).await),
        (
            sample.object(0, "index/", ""),
            sample.object(1, "index/", ""),
        ),
        (
            sample.object(0, "sessions/", ".begin"),
            sample.object(1, "sessions/", ".begin"),
        ),
        (
            sample.object(0, "sessions/", ".end"),
            sample.object(1, "sessions/", ".end"),
        ),
    ];
    for (object, other) in kinds {
        let other = get(&sample.backend, &other).await;
        for damage in ALL {
            let case = format!("{object} {damage:?}");
            let backend = sample.damaged(&object, damage, &other).await;
            let found = keyless(&backend).await;
            let end_is_gone = object.ends_with(".end") && damage == Damage::Delete;
            if end_is_gone {
                // Nothing in a vault tells a commit that was removed from one that never was:
                // the catalog does. What is left is a session that has not ended.
                let report = verify_objects(backend.clone() as _, |_| ()).await.unwrap();
                assert_eq!(report.open_sessions.len(), 1, "{case}");
            } else {
                assert!(found.contains(&object), "{case}: {found:?}");
            }
            let vault = Vault::open(backend, &key()).await.unwrap();
            check_first(&vault, &sample, &object, &case).await;
            let whole = vault.point(sample.points[1].id).await.unwrap();
            let content = read_all(&vault, &whole.disks[0].stream).await.unwrap();
            assert!(
                content == sample.contents[1],
                "{case}: the other point is touched"
            );
            // A backup of the same content heals what it can reach, and never refers to damage
            // that shows in lists or footers.
            if object.starts_with("packs/") && matches!(damage, Damage::Delete | Damage::Truncate) {
                let again = back_up(&vault, &sample.contents[0]).await;
                let report = vault.verify_point(again.id, |_| ()).await.unwrap();
                assert_eq!(
                    report.damaged_count, 0,
                    "{case}: the next backup is damaged, too"
                );
            }
        }
    }
}

/// Reading the damaged point never gives wrong bytes, and names the object.
async fn check_first(vault: &Vault, sample: &Sample, object: &str, case: &str) {
    let id = sample.points[0].id;
    let list = vault.points().await.unwrap();
    if object.ends_with(".end") {
        assert_eq!(list.points.len(), 1, "{case}");
        assert!(vault.point(id).await.is_err(), "{case}");
        assert!(
            list.damaged
                .iter()
                .all(|error| error.to_string().contains(object)),
            "{case}"
        );
        return;
    }
    assert_eq!(list.points.len(), 2, "{case}");
    let report = vault.verify_point(id, |_| ()).await.unwrap();
    let point = vault.point(id).await.unwrap();
    let read = read_all(vault, &point.disks[0].stream).await;
    if !object.starts_with("packs/") || report.damaged_count == 0 {
        // Index runs and begin objects are not needed to read; a footer is not, either.
        assert!(read.unwrap() == sample.contents[0], "{case}");
        return;
    }
    for damaged in &report.damaged {
        assert_eq!(damaged.object, object, "{case}");
        assert_eq!(damaged.stream.as_str(), "vda", "{case}");
    }
    assert!(
        matches!(read.unwrap_err().kind(), ErrorKind::ChunkDamaged { .. }),
        "{case}"
    );
}

/// What all points need: header, slots, ring.
#[tokio::test(flavor = "multi_thread")]
async fn damage_to_the_keys_is_named() {
    let sample = Sample::make().await;
    let (foreign, _, _) = memory_vault().await;
    for prefix in ["vault", "keys/slot-", "keys/ring-"] {
        let of = |names: Vec<String>| {
            names
                .into_iter()
                .find(|name| name.starts_with(prefix))
                .unwrap()
        };
        let object = of(names(&sample.backend).await);
        let other = get(&foreign, &of(names(&foreign).await)).await;
        for damage in ALL {
            let case = format!("{object} {damage:?}");
            let backend = sample.damaged(&object, damage, &other).await;
            let found = keyless(&backend).await;
            let opened = Vault::open(backend, &key()).await;
            if prefix == "keys/slot-" && damage == Damage::Delete {
                // One of two slots: the other one opens still, this key does not.
                assert_eq!(
                    *opened.err().unwrap().kind(),
                    ErrorKind::KeyRejected,
                    "{case}"
                );
                continue;
            }
            if damage == Damage::Swap && prefix == "vault" {
                assert!(!found.is_empty(), "{case}");
            } else {
                assert!(found.contains(&object), "{case}: {found:?}");
            }
            match opened.map_err(|error| error.kind().clone()) {
                Err(ErrorKind::Damaged { object: named, .. }) => {
                    assert!(named == object || prefix == "vault", "{case}: {named}");
                }
                Err(ErrorKind::NotAVault) => assert_eq!(prefix, "vault", "{case}"),
                other => panic!("{case}: {:?}", other.map(|_| ())),
            }
        }
    }
}

/// A flipped bit in a data pack costs its frame, not the pack.
#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_costs_one_frame() {
    let sample = Sample::make().await;
    let object = sample.pack(0, false).await;
    let backend = sample
        .damaged(&object, Damage::FlipMiddle, &Bytes::new())
        .await;
    let vault = Vault::open(backend, &key()).await.unwrap();
    let report = vault
        .verify_point(sample.points[0].id, |_| ())
        .await
        .unwrap();
    assert_eq!(report.damaged_count, 16);
    assert_eq!(report.bytes, 5 << 20);
}
