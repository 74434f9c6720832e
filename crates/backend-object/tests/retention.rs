//! What is to stay, held by the store.
#![expect(clippy::unwrap_used, reason = "helpers of tests, which may panic")]

mod support;

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tresor_backend::{Backend, ErrorKind, ObjectName, Retained};
use tresor_backend_object::{LockTrial, ObjectBackend, ObjectLock};
use tresor_testkit::stores::{Fault, Moto, Proxy};

const DAY: Duration = Duration::from_secs(86_400);

fn name(text: &str) -> ObjectName {
    ObjectName::new(text).unwrap()
}

async fn put(store: &ObjectBackend, text: &str) -> ObjectName {
    let name = name(text);
    store.put(&name, Bytes::from_static(b"x")).await.unwrap();
    name
}

/// A server with two buckets: `locking`, where nothing is locked by itself, and `plain`.
async fn moto() -> Moto {
    let moto = Moto::start().unwrap();
    moto.make_locking_bucket("locking").await.unwrap();
    moto.make_bucket("plain", false).await.unwrap();
    moto
}

/// Held, seen, extended, never shortened, and refused to whoever deletes: the object is then as it
/// was, not hidden.
#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_held() {
    let moto = moto().await;
    let store = support::s3(moto.url(), "s3://locking/vault");
    let (kept, now) = (put(&store, "packs/kept").await, SystemTime::now());
    assert_eq!(store.lock_of(&kept).await.unwrap(), None);
    let mut dates = Vec::new();
    for until in [now + 2 * DAY, now + DAY, now + 3 * DAY] {
        let held = store.retain_until(&kept, until).await.unwrap();
        assert_eq!(held, Retained::ByStore);
        let lock = store.lock_of(&kept).await.unwrap().unwrap();
        assert_eq!(lock.mode, "GOVERNANCE");
        dates.push(lock.until);
    }
    assert_eq!(dates[0], dates[1], "an earlier date changes nothing");
    assert!(dates[1] < dates[2], "{dates:?}");

    let refused = store.delete(&kept).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Retained, "{refused:?}");
    assert!(format!("{refused:?}").contains(&dates[2]), "{refused:?}");
    let lock = store.lock_of(&kept).await.unwrap().unwrap();
    assert_eq!(
        store.try_lock(&kept, &lock).await.unwrap(),
        LockTrial::Enforced
    );
    assert_eq!(store.get(&kept, 9).await.unwrap(), "x");
    assert_eq!(store.list("").await.unwrap().len(), 1);
    assert_eq!(moto.versions("locking").await.unwrap(), (1, 0));

    let nothing = store.retain_until(&name("nothing"), now + DAY).await;
    assert_eq!(nothing.unwrap_err().kind(), ErrorKind::NotFound);
}

/// A plain DELETE hides what is held: it is gone for all who look, and its bytes are not.
#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_hidden() {
    let moto = moto().await;
    let store = support::s3(moto.url(), "s3://locking/vault");
    let kept = put(&store, "kept").await;
    let until = SystemTime::now() + DAY;
    store.retain_until(&kept, until).await.unwrap();
    store.hide(&kept).await.unwrap();
    assert_eq!(moto.versions("locking").await.unwrap(), (1, 1));
    let kind = |error: tresor_backend::Error| error.kind();
    assert_eq!(
        store.stat(&kept).await.map_err(kind),
        Err(ErrorKind::NotFound)
    );
    assert_eq!(
        store.get(&kept, 9).await.map_err(kind),
        Err(ErrorKind::NotFound)
    );
    assert!(store.list("").await.unwrap().is_empty());
    // Whoever looks for it finds it. What was hidden and not held stays away.
    let free = put(&store, "free").await;
    store.hide(&free).await.unwrap();
    let other = support::s3(moto.url(), "s3://locking/other");
    assert_eq!(other.hidden().await.unwrap(), []);
    let hidden = store.hidden().await.unwrap();
    let names: Vec<_> = hidden.iter().map(|hidden| hidden.name.as_str()).collect();
    assert_eq!(names, ["kept"]);
    // Hidden twice is hidden once.
    store.hide(&kept).await.unwrap();
    store
        .unhide(&store.hidden().await.unwrap()[0])
        .await
        .unwrap();
    assert_eq!(store.get(&kept, 9).await.unwrap(), "x");
    assert_eq!(store.hidden().await.unwrap(), []);
    assert_eq!(store.list("").await.unwrap().len(), 1);
    store.hide(&kept).await.unwrap();
    // Deleting what is not to be seen is deleting twice.
    store.delete(&kept).await.unwrap();
    assert_eq!(moto.versions("locking").await.unwrap(), (2, 2));
    // The name is free, and what was there stays away when the new object goes.
    put(&store, "kept").await;
    store.delete(&kept).await.unwrap();
    assert!(store.list("").await.unwrap().is_empty());
    assert_eq!(moto.versions("locking").await.unwrap(), (2, 2));
}

/// Versions would be kept for ever, and be paid for: a delete takes them out.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_held_leaves_nothing() {
    let moto = moto().await;
    let store = support::s3(moto.url(), "s3://locking/vault");
    let object = put(&store, "a").await;
    // A date that is over holds nothing.
    store
        .retain_until(&object, SystemTime::UNIX_EPOCH + DAY)
        .await
        .unwrap();
    assert!(store.lock_of(&object).await.unwrap().is_some());
    store.delete(&object).await.unwrap();
    assert_eq!(moto.versions("locking").await.unwrap(), (0, 0));
    store.delete(&object).await.unwrap();
    assert_eq!(moto.versions("locking").await.unwrap(), (0, 0));

    let plain = support::s3(moto.url(), "s3://plain/vault");
    let object = put(&plain, "a").await;
    plain.delete(&object).await.unwrap();
    assert!(plain.list("").await.unwrap().is_empty());
}

/// Nothing is asked of a bucket that does not say that it has Object Lock: a server that does not know
/// the request could take it for a put of the object.
#[tokio::test(flavor = "multi_thread")]
async fn stores_that_hold_nothing() {
    let moto = moto().await;
    let until = SystemTime::now() + DAY;
    let proxy = Proxy::start(moto.url(), Fault::None).await.unwrap();
    let plain = support::s3(proxy.url(), "s3://plain/vault");
    let object = put(&plain, "a").await;
    assert!(!plain.has_object_lock().await.unwrap());
    for _ in 0..2 {
        let held = plain.retain_until(&object, until).await.unwrap();
        assert_eq!(held, Retained::NotSupported);
    }
    assert_eq!(proxy.puts(), 1, "only the object");

    let off = support::s3_locking(moto.url(), "s3://locking/off", ObjectLock::Off);
    let object = put(&off, "a").await;
    let held = off.retain_until(&object, until).await.unwrap();
    assert_eq!(held, Retained::NotSupported);
    assert_eq!(off.lock_of(&object).await.unwrap(), None);

    let dir = tempfile::tempdir().unwrap();
    let url = support::serve_directory(dir.path(), "bucket").await;
    let simple = support::s3(&url, "s3://bucket/vault");
    let object = put(&simple, "a").await;
    let held = simple.retain_until(&object, until).await.unwrap();
    assert_eq!(held, Retained::NotSupported);
    assert_eq!(simple.get(&object, 9).await.unwrap(), "x");
}

#[tokio::test(flavor = "multi_thread")]
async fn compliance_is_asked_for_and_never_weakened() {
    let moto = moto().await;
    let until = SystemTime::now() + DAY;
    let strict = support::s3_locking(moto.url(), "s3://locking/vault", ObjectLock::Compliance);
    let lenient = support::s3(moto.url(), "s3://locking/vault");
    let object = put(&lenient, "a").await;
    lenient.retain_until(&object, until).await.unwrap();
    strict.retain_until(&object, until).await.unwrap();
    let mode = || async { lenient.lock_of(&object).await.unwrap().unwrap().mode };
    assert_eq!(mode().await, "COMPLIANCE");
    lenient.retain_until(&object, until + DAY).await.unwrap();
    assert_eq!(mode().await, "COMPLIANCE");
}

/// Read back, so that nobody relies on what a server ignores.
#[tokio::test(flavor = "multi_thread")]
async fn stores_that_accept_and_ignore_or_refuse() {
    let moto = moto().await;
    let until = SystemTime::now() + DAY;
    for (fault, want) in [
        (Fault::IgnoreRetention, ErrorKind::Unfit),
        (Fault::ForbidRetention, ErrorKind::Denied),
    ] {
        let said = format!("{fault:?}");
        let proxy = Proxy::start(moto.url(), fault).await.unwrap();
        let store = support::s3(proxy.url(), &format!("s3://locking/{said}"));
        let object = put(&store, "a").await;
        let refused = store.retain_until(&object, until).await.unwrap_err();
        assert_eq!(refused.kind(), want, "{said}: {refused:?}");
    }
    let proxy = Proxy::start(moto.url(), Fault::IgnoreLocks).await.unwrap();
    let store = support::s3(proxy.url(), "s3://locking/show");
    let object = put(&store, "a").await;
    store.retain_until(&object, until).await.unwrap();
    let lock = store.lock_of(&object).await.unwrap().unwrap();
    let tried = store.try_lock(&object, &lock).await.unwrap();
    assert_eq!(tried, LockTrial::Ignored);
}

/// Others may put below the same prefix what is no object of a vault: it is passed over.
#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_no_objects() {
    let moto = moto().await;
    let store = support::s3(moto.url(), "s3://plain/vault");
    put(&store, "packs/a").await;
    put(&store, "vault").await;
    for key in [
        "plain/vault/packs//a",
        "plain/vault//packs/b",
        "plain/vault/packs/c/",
        "plain/vault/",
        "plain/vault/packs/D%20d",
        "plain//vault/packs/e",
    ] {
        moto.put(key, "foreign").await.unwrap();
    }
    let whole = support::s3(moto.url(), "s3://plain");
    for (store, prefix, want) in [
        (&store, "", &["packs/a", "vault"][..]),
        (&store, "packs/", &["packs/a"]),
        (&whole, "", &["vault/packs/a", "vault/vault"]),
    ] {
        let listed = store.list(prefix).await.unwrap();
        let names: Vec<_> = listed.iter().map(|meta| meta.name.as_str()).collect();
        assert_eq!(names, want, "{prefix}");
    }
}
