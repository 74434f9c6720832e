//! Pins, locks, deletions and ends of recovery points.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

mod support;

use std::sync::Arc;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use support::{back_up, memory_vault, noise};
use tresor_backend::{Backend, MemoryBackend, ObjectName};
use tresor_model::{PointId, SessionId};
use tresor_vault::{CollectOptions, ErrorKind, Standing, Vault, verify_objects};
use tresor_vault_format::{ExpiryMark, PointState, VaultLock, name};

const WEEK: SignedDuration = SignedDuration::from_hours(7 * 24);

async fn a_point() -> (Arc<MemoryBackend>, Vault, PointId) {
    let (backend, vault, _) = memory_vault().await;
    let point = back_up(&vault, &noise(1, 1 << 17)).await;
    (backend, vault, point.id)
}

fn session(point: PointId) -> SessionId {
    SessionId::from_uuid(*point.as_uuid())
}

fn object(text: &str) -> ObjectName {
    ObjectName::new(text).unwrap()
}

fn in_days(days: i64) -> Timestamp {
    Timestamp::now() + SignedDuration::from_hours(24 * days)
}

/// Listed, deleted, or neither.
async fn standing(vault: &Vault, point: PointId) -> Standing {
    let list = vault.points().await.unwrap();
    let listed = list.points.iter().any(|p| p.id == point);
    let deleted = list.deleted.iter().any(|p| p.id == point);
    let found = match (listed, deleted) {
        (true, false) => Standing::Live,
        (false, true) => Standing::Deleted,
        (false, false) => Standing::Gone,
        (true, true) => panic!("in both lists"),
    };
    let plan = vault.plan_collect(&CollectOptions::default(), |_| ()).await;
    let dropped = plan.unwrap().sessions == 1;
    assert_eq!(dropped, found == Standing::Gone, "what collect makes of it");
    match vault.point(point).await {
        Ok(_) => assert_eq!(found, Standing::Live),
        Err(error) => match error.kind() {
            ErrorKind::PointDeleted { .. } => assert_eq!(found, Standing::Deleted),
            ErrorKind::PointExpired { .. } => assert_eq!(found, Standing::Gone),
            _ => panic!("{error}"),
        },
    }
    found
}

fn is_held<T: std::fmt::Debug>(result: tresor_vault::Result<T>) -> bool {
    matches!(result.unwrap_err().kind(), ErrorKind::PointHeld { .. })
}

#[tokio::test]
async fn a_deletion_is_taken_back_until_the_point_is_ended() {
    let (backend, vault, point) = a_point().await;
    vault.delete_point(point, WEEK).await.unwrap();
    vault.delete_point(point, WEEK).await.unwrap();
    assert_eq!(standing(&vault, point).await, Standing::Deleted);
    assert_eq!(backend.list("states/").await.unwrap().len(), 1, "once");
    assert!(matches!(
        vault.pin(point).await.unwrap_err().kind(),
        ErrorKind::PointDeleted { .. }
    ));
    vault.undelete_point(point).await.unwrap();
    assert_eq!(standing(&vault, point).await, Standing::Live);
    // A grace that is over takes nothing away by itself.
    vault
        .delete_point(point, SignedDuration::ZERO)
        .await
        .unwrap();
    assert_eq!(standing(&vault, point).await, Standing::Deleted);
    vault.undelete_point(point).await.unwrap();
    vault.delete_point(point, WEEK).await.unwrap();
    vault.expire(point).await.unwrap();
    vault.expire(point).await.unwrap();
    assert_eq!(standing(&vault, point).await, Standing::Gone);
    assert!(matches!(
        vault.undelete_point(point).await.unwrap_err().kind(),
        ErrorKind::PointExpired { .. }
    ));
    let report = verify_objects(backend, |_| {}).await.unwrap();
    assert!(
        report.damaged.is_empty() && report.foreign.is_empty(),
        "{report:?}"
    );
}

/// Of an end and an undelete that race exactly one succeeds, whichever comes first.
#[tokio::test]
async fn an_end_and_an_undelete_never_both_succeed() {
    for _ in 0..50 {
        let (_, vault, point) = a_point().await;
        vault.delete_point(point, WEEK).await.unwrap();
        let (ender, saver) = (vault.clone(), vault.clone());
        let ender = tokio::spawn(async move { ender.expire(point).await });
        let saver = tokio::spawn(async move { saver.undelete_point(point).await });
        ender.await.unwrap().unwrap();
        match saver.await.unwrap() {
            // It came first; the end, which does not ask for a deletion, came after it.
            Ok(()) => {}
            Err(error) => assert!(matches!(error.kind(), ErrorKind::PointExpired { .. })),
        }
        assert_eq!(standing(&vault, point).await, Standing::Gone);
    }
}

#[tokio::test]
async fn a_pin_holds() {
    let (_, vault, point) = a_point().await;
    vault.pin(point).await.unwrap();
    assert!(is_held(vault.delete_point(point, WEEK).await));
    assert!(is_held(vault.expire(point).await));
    assert!(vault.points().await.unwrap().marks[&point].pinned);
    vault.unpin(point).await.unwrap();
    vault.expire(point).await.unwrap();
    assert_eq!(standing(&vault, point).await, Standing::Gone);
}

#[tokio::test]
async fn what_is_immutable_is_extended_and_never_shortened() {
    let (_, vault, point) = a_point().await;
    vault.lock_point(point, in_days(9)).await.unwrap();
    let marked = vault.marks_of(point).await.unwrap().immutable_until;
    vault.lock_point(point, in_days(3)).await.unwrap();
    assert_eq!(vault.marks_of(point).await.unwrap().immutable_until, marked);
    vault.lock_point(point, in_days(10)).await.unwrap();
    assert!(vault.marks_of(point).await.unwrap().immutable_until > marked);
    assert!(is_held(vault.delete_point(point, WEEK).await));
    assert!(is_held(vault.expire(point).await));
    let (_, vault, point) = a_point().await;
    vault.lock_point(point, in_days(-1)).await.unwrap();
    vault.expire(point).await.unwrap();
    assert_eq!(standing(&vault, point).await, Standing::Gone);
}

/// Who can only put objects puts all that it can: states without the lock, an end, a mark.
#[tokio::test]
async fn somebody_who_can_put_cannot_shorten() {
    let (backend, vault, point) = a_point().await;
    vault.lock_point(point, in_days(9)).await.unwrap();
    let id = vault.id();
    let state = |number, ended: bool| PointState {
        vault: id,
        session: session(point),
        number,
        made_ms: 0,
        pinned: false,
        immutable_until_ms: None,
        deleted_ms: (!ended).then_some((0, 0)),
        ended,
    };
    let put = async |name: String, bytes: Vec<u8>| {
        backend
            .put(&object(&name), Bytes::from(bytes))
            .await
            .unwrap();
    };
    put(name::state(session(point), 2), state(2, false).encode()).await;
    assert_eq!(standing(&vault, point).await, Standing::Deleted);
    vault.undelete_point(point).await.unwrap();
    assert_eq!(standing(&vault, point).await, Standing::Live);
    put(name::state(session(point), 4), state(4, true).encode()).await;
    let mark = ExpiryMark {
        vault: id,
        session: session(point),
        marked_ms: 0,
    };
    put(name::expired(session(point)), mark.encode()).await;
    assert_eq!(standing(&vault, point).await, Standing::Live);
}

#[tokio::test]
async fn a_locked_vault_holds_what_is_there_and_what_comes() {
    let (backend, vault, point) = a_point().await;
    assert_eq!(vault.lock_days().await.unwrap(), 0);
    assert_eq!(vault.lock(30).await.unwrap(), 30);
    assert_eq!(vault.lock(7).await.unwrap(), 30, "never shortened");
    assert_eq!(vault.lock(31).await.unwrap(), 31);
    let later = back_up(&vault, &noise(2, 1 << 17)).await.id;
    for point in [point, later] {
        assert!(is_held(vault.delete_point(point, WEEK).await));
        assert!(is_held(vault.expire(point).await));
        let until = vault.points().await.unwrap().marks[&point].immutable_until;
        assert!(until > Some(in_days(30)));
    }
    // A bare mark, as an older program puts it.
    let mark = ExpiryMark {
        vault: vault.id(),
        session: session(point),
        marked_ms: 0,
    };
    let name = object(&name::expired(session(point)));
    backend
        .put(&name, Bytes::from(mark.encode()))
        .await
        .unwrap();
    assert_eq!(standing(&vault, point).await, Standing::Live);
    let another = VaultLock {
        vault: vault.id(),
        number: 9,
        made_ms: 0,
        min_days: 0,
    };
    let name = object(&name::lock(9));
    backend
        .put(&name, Bytes::from(another.encode()))
        .await
        .unwrap();
    assert_eq!(vault.lock_days().await.unwrap(), 31);
}

#[tokio::test]
async fn what_cannot_be_read_holds_its_point() {
    let (backend, vault, point) = a_point().await;
    vault.pin(point).await.unwrap();
    vault.unpin(point).await.unwrap();
    let first = object(&name::state(session(point), 1));
    let good = backend.get(&first, 1000).await.unwrap();
    let mut bad = good.to_vec();
    bad[60] ^= 1;
    for damage in [Some(Bytes::from(bad)), None] {
        match damage {
            Some(bytes) => backend.overwrite(&first, bytes),
            None => backend.delete(&first).await.unwrap(),
        }
        let list = vault.points().await.unwrap();
        assert_eq!((list.points.len(), list.damaged.len()), (1, 1));
        assert!(list.marks[&point].unclear);
        assert!(is_held(vault.expire(point).await));
        let report = verify_objects(Arc::clone(&backend) as _, |_| {})
            .await
            .unwrap();
        assert_eq!(report.damaged[0].object, first.as_str(), "{report:?}");
    }
    backend.overwrite(&first, good);
    vault.expire(point).await.unwrap();
    let (backend, vault, point) = a_point().await;
    let lock = object(&name::lock(1));
    backend
        .put(&lock, Bytes::from_static(b"TRESORLK"))
        .await
        .unwrap();
    assert!(is_held(vault.expire(point).await));
    assert!(vault.lock_days().await.is_err());
}

#[tokio::test]
async fn a_damaged_point_is_deleted_and_ended_as_well() {
    let (backend, vault, point) = a_point().await;
    let end = object(&name::session_end(session(point)));
    backend.overwrite(&end, Bytes::from_static(b"TRESORSE"));
    let list = vault.points().await.unwrap();
    assert_eq!(list.unreadable, [point]);
    vault.expire(point).await.unwrap();
    assert!(vault.points().await.unwrap().unreadable.is_empty());
}
