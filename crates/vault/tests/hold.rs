//! What is immutable, held by a store that can.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use support::{CHUNK, back_up, begin, key, memory_vault, name, noise, point, read_all};
use tresor_backend::wrap::{Metered, Verb};
use tresor_backend::{Backend, ErrorKind, MemoryBackend};
use tresor_model::RecoveryPoint;
use tresor_vault::{CreateOptions, Held, HeldNote, Vault};

const MIB: usize = 1 << 20;

struct Scene {
    backend: Arc<MemoryBackend>,
    /// Counts what is asked of the store.
    metered: Arc<Metered<Arc<MemoryBackend>>>,
    vault: Vault,
}

async fn holding() -> Scene {
    let backend = Arc::new(MemoryBackend::with_retention());
    let metered = Arc::new(Metered::new(Arc::clone(&backend)));
    let place: Arc<dyn Backend> = Arc::clone(&metered) as _;
    let (vault, _) = Vault::create(place, CreateOptions::new(key()))
        .await
        .unwrap();
    Scene {
        backend,
        metered,
        vault,
    }
}

impl Scene {
    fn asked(&self) -> u64 {
        self.metered.snapshot().of(Verb::Retain).calls
    }

    /// What somebody does who has the store's credentials and no mercy. Gives what is left.
    async fn delete_all(&self) -> BTreeSet<String> {
        for meta in self.backend.list("").await.unwrap() {
            match self.backend.delete(&meta.name).await {
                Ok(()) => {}
                Err(error) => assert_eq!(error.kind(), ErrorKind::Retained),
            }
        }
        let left = self.backend.list("").await.unwrap().into_iter();
        left.map(|meta| meta.name.as_str().to_owned()).collect()
    }
}

fn in_days(days: i64) -> Timestamp {
    Timestamp::now() + SignedDuration::from_hours(24 * days)
}

/// A point that shares all but one chunk with the one before.
async fn next(vault: &Vault, before: &RecoveryPoint, content: &[u8], at: usize) -> RecoveryPoint {
    let session = begin(vault).await;
    let base = &before.disks[0].stream;
    let stream = session.stream(name("vda"), content.len() as u64, Some(base));
    let mut writer = stream.await.unwrap();
    let piece = content[at..at + usize::try_from(CHUNK).unwrap()].to_vec();
    writer.write(at as u64, piece.into()).await.unwrap();
    let (disk, _) = writer.finish().await.unwrap();
    let mut made = point(session.id(), vec![disk]);
    (made.vm, made.parent) = (before.vm, Some(before.id));
    made.sequence = before.sequence + 1;
    session.commit(made.clone()).await.unwrap();
    made
}

/// Two points of one disk, and their contents.
async fn two_points(vault: &Vault) -> ([RecoveryPoint; 2], [Vec<u8>; 2]) {
    let content = noise(1, 20 * MIB);
    let first = back_up(vault, &content).await;
    let mut changed = content.clone();
    let len = usize::try_from(CHUNK).unwrap();
    changed[8 * MIB..8 * MIB + len].copy_from_slice(&noise(2, len));
    let second = next(vault, &first, &changed, 8 * MIB).await;
    ([first, second], [content, changed])
}

/// Whoever can delete takes everything else, and the point that is locked is restored all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_locked_point_outlives_everything_else() {
    let scene = holding().await;
    let vault = &scene.vault;
    let ([first, second], [_, changed]) = two_points(vault).await;
    let other = back_up(vault, &noise(7, 3 * MIB)).await;
    let mut note = HeldNote::default();
    let none = vault.hold_point(second.id, None, &mut note).await.unwrap();
    assert_eq!((none, scene.asked()), (Held::Nothing, 0));

    let until = in_days(30);
    vault.lock_point(second.id, until).await.unwrap();
    let held = vault.hold_point(second.id, None, &mut note).await.unwrap();
    let Held::ByStore { until: date, asked } = held else {
        panic!("{held:?}");
    };
    assert_eq!(date.as_millisecond(), until.as_millisecond());
    assert_eq!(asked, scene.asked());
    // A marker of a locked point is not deletable either: it is what says so.
    let left = scene.delete_all().await;
    assert!(
        left.iter().any(|name| name.starts_with("states/")),
        "{left:?}"
    );

    let place: Arc<dyn Backend> = Arc::clone(&scene.backend) as _;
    let again = Vault::open(place, &key()).await.unwrap();
    let found = again.point(second.id).await.unwrap();
    let content = read_all(&again, &found.disks[0].stream).await.unwrap();
    assert!(content == changed, "the locked point is not what it was");
    for gone in [first.id, other.id] {
        assert!(
            again.point(gone).await.is_err(),
            "nothing asked to keep {gone}"
        );
    }
}

/// In a locked vault a backup costs what it changed; what is shared is asked about once for many.
#[tokio::test(flavor = "multi_thread")]
async fn in_a_locked_vault_a_point_costs_its_change() {
    let scene = holding().await;
    let vault = &scene.vault;
    let ([first, second], [_, mut content]) = two_points(vault).await;
    vault.lock(40).await.unwrap();
    let mut note = HeldNote::default();
    let Held::ByStore { .. } = vault.hold_points(&mut note).await.unwrap() else {
        panic!("nothing is held");
    };
    let all = scene.asked();
    assert_eq!(
        vault.hold_points(&mut note).await.unwrap(),
        Held::ByStore {
            until: in_step(vault, first.id).await,
            asked: 0
        }
    );
    assert_eq!(scene.asked(), all, "all of it is noted");

    let mut last = second;
    for round in 0..3 {
        let (at, len) = (round * 4 * MIB, usize::try_from(CHUNK).unwrap());
        content[at..at + len].copy_from_slice(&noise(10 + round as u64, len));
        last = next(vault, &last, &content, at).await;
        let before = scene.asked();
        vault.hold_point(last.id, None, &mut note).await.unwrap();
        // Begin, end, a data pack, an index run, a tree pack.
        let more = scene.asked() - before;
        assert!(more <= 5, "{more} objects for one chunk");
    }
    // Another machine knows nothing of it: it asks, and changes no date.
    let before = scene.asked();
    let mut elsewhere = HeldNote::default();
    vault.hold_points(&mut elsewhere).await.unwrap();
    assert!(scene.asked() > before);

    let left = scene.delete_all().await;
    assert!(!left.is_empty());
    for point in [first.id, last.id] {
        let found = vault.point(point).await.unwrap();
        read_all(vault, &found.disks[0].stream).await.unwrap();
    }
}

/// The date to which all points of a vault are held that were made within a step.
async fn in_step(vault: &Vault, point: tresor_model::PointId) -> Timestamp {
    let until = vault
        .marks_of(point)
        .await
        .unwrap()
        .immutable_until
        .unwrap();
    let step = 10 * 86_400;
    let second = until.as_second() + 1;
    Timestamp::from_second(second + (step - second.rem_euclid(step)) % step).unwrap()
}

/// A store that holds nothing is asked once, and nothing is read for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_holds_nothing() {
    let (_, vault, _) = memory_vault().await;
    let made = back_up(&vault, &noise(1, MIB)).await;
    vault.lock_point(made.id, in_days(1)).await.unwrap();
    let mut note = HeldNote::default();
    let held = vault.hold_point(made.id, None, &mut note).await.unwrap();
    assert_eq!(held, Held::NotSupported);
    assert_eq!(
        vault.hold_points(&mut note).await.unwrap(),
        Held::NotSupported
    );
    assert_eq!(note, HeldNote::default());
}

/// A date that is moved is moved for what is shared, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_later_date_extends_what_is_shared() {
    let scene = holding().await;
    let vault = &scene.vault;
    let ([first, second], _) = two_points(vault).await;
    let mut note = HeldNote::default();
    vault.lock_point(first.id, in_days(5)).await.unwrap();
    vault.hold_point(first.id, None, &mut note).await.unwrap();
    let dates = || async {
        let packs = scene.backend.list("packs/").await.unwrap();
        let dates = packs
            .iter()
            .map(|meta| scene.backend.held_until(&meta.name));
        dates.collect::<Vec<_>>()
    };
    let before = dates().await;
    assert!(
        before.iter().any(Option::is_none),
        "packs of the second only"
    );
    vault.lock_point(second.id, in_days(9)).await.unwrap();
    vault.hold_point(second.id, None, &mut note).await.unwrap();
    let after = dates().await;
    assert!(after.iter().all(Option::is_some), "{after:?}");
    assert!(
        before
            .iter()
            .zip(&after)
            .any(|(before, after)| before.is_some() && before < after),
        "nothing shared was extended"
    );
    // Locked for less than it is held: nothing is asked, and nothing shortened.
    let asked = scene.asked();
    vault.hold_point(first.id, None, &mut note).await.unwrap();
    assert_eq!(scene.asked(), asked);
    assert_eq!(dates().await, after);
}
