//! What a store does to whoever trusts it too much.
#![expect(clippy::unwrap_used, reason = "helpers of tests, which may panic")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tresor_backend::contract::suite;
use tresor_backend::wrap::{Backoff, Retrying};
use tresor_backend::{Backend, ErrorKind, ObjectName};
use tresor_backend_object::{LockTrial, Powers};
use tresor_testkit::stores::{Fault, GoogleDouble, Moto, Proxy};

fn name(text: &str) -> ObjectName {
    ObjectName::new(text).unwrap()
}

async fn moto() -> Moto {
    let moto = Moto::start().unwrap();
    moto.make_bucket("bucket", false).await.unwrap();
    moto
}

fn soon() -> Backoff {
    Backoff {
        first: Duration::from_millis(1),
        ..Backoff::default()
    }
}

/// Whether it happened is not known, and the call says so. Put again, it is known.
#[tokio::test(flavor = "multi_thread")]
async fn a_put_whose_answer_is_lost() {
    let moto = moto().await;
    let proxy = Proxy::start(moto.url(), Fault::LoseAnswers(1))
        .await
        .unwrap();
    let bare = support::s3(proxy.url(), "s3://bucket");
    let lost = bare
        .put(&name("a"), Bytes::from_static(b"x"))
        .await
        .unwrap_err();
    assert_eq!(lost.kind(), ErrorKind::Unavailable);
    assert_eq!(proxy.puts(), 1, "nothing below repeats it");

    // However large: a pack is one PUT.
    let large = Proxy::start(moto.url(), Fault::None).await.unwrap();
    let backend = support::s3(large.url(), "s3://bucket");
    backend
        .put(&name("large"), vec![7; 40 << 20].into())
        .await
        .unwrap();
    assert_eq!((large.puts(), backend.puts_sent()), (1, 1));
    drop(large);

    let proxy = Proxy::start(moto.url(), Fault::LoseAnswers(2))
        .await
        .unwrap();
    let backend = Retrying::new(support::s3(proxy.url(), "s3://bucket"), soon());
    for nth in 0..6 {
        backend
            .put(&name(&format!("b{nth}")), Bytes::from(format!("{nth}")))
            .await
            .unwrap();
    }
    assert!(proxy.puts() > 6);
    let again = backend
        .put(&name("b0"), Bytes::from_static(b"other"))
        .await
        .unwrap_err();
    assert_eq!(again.kind(), ErrorKind::AlreadyExists);
}

/// The header that makes a put conditional does not arrive: the suite sees it.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_overwrites() {
    let moto = moto().await;
    let proxy = Proxy::start(moto.url(), Fault::Strip("if-none-match"))
        .await
        .unwrap();
    let backend: Arc<dyn Backend> = Arc::new(support::s3(proxy.url(), "s3://bucket"));
    let broken = suite(backend, &name("examined"), 1 << 20)
        .await
        .unwrap_err();
    assert_eq!(broken.check(), "nothing is overwritten");
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_say_what_is_wrong() {
    let moto = moto().await;
    let nowhere = support::s3(moto.url(), "s3://nothing");
    let put = nowhere.put(&name("a"), Bytes::new()).await.unwrap_err();
    assert_eq!(put.kind(), ErrorKind::Unfit, "{put:?}");
    assert!(format!("{put:?}").contains("NoSuchBucket"), "{put:?}");
    assert_eq!(nowhere.list("").await.unwrap_err().kind(), ErrorKind::Unfit);

    let proxy = Proxy::start(moto.url(), Fault::ForbidDeletes)
        .await
        .unwrap();
    let appending = support::s3(proxy.url(), "s3://bucket");
    appending.put(&name("a"), Bytes::new()).await.unwrap();
    let kept = appending.delete(&name("a")).await.unwrap_err();
    assert_eq!(kept.kind(), ErrorKind::Denied);

    let google = GoogleDouble::start("bucket", "token").await.unwrap();
    let stranger = support::google(google.url(), "gs://bucket", "hush-hush");
    let denied = stranger.stat(&name("a")).await.unwrap_err();
    assert_eq!(denied.kind(), ErrorKind::Denied);
    assert!(!format!("{denied:?}").contains("hush"), "{denied:?}");

    let (url, port) = (moto.url().to_owned(), moto);
    drop(port);
    let gone = support::s3(&url, "s3://bucket")
        .stat(&name("a"))
        .await
        .unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::Unavailable);
}

/// What credentials can do is tried, and the object that was tried stays as it was where nothing can be done.
#[tokio::test(flavor = "multi_thread")]
async fn powers_are_found_out() {
    let moto = moto().await;
    for (fault, powers) in [
        (Fault::AppendOnly, Powers::AppendOnly),
        (Fault::ForbidDeletes, Powers::Overwrite),
        (Fault::None, Powers::Overwrite),
        // Once replaced, it proves nothing any more.
        (Fault::AppendOnly, Powers::Overwrite),
    ] {
        let said = format!("{fault:?}");
        let proxy = Proxy::start(moto.url(), fault).await.unwrap();
        let backend = support::s3(proxy.url(), "s3://bucket");
        let found = backend.powers(&name("trial")).await.unwrap();
        assert_eq!(found, powers, "{said}");
    }
    let proxy = Proxy::start(moto.url(), Fault::AppendOnly).await.unwrap();
    let backend = support::s3(proxy.url(), "s3://bucket");
    for _ in 0..2 {
        let found = backend.powers(&name("other")).await.unwrap();
        assert_eq!(found, Powers::AppendOnly);
    }
    moto.make_bucket("locked", true).await.unwrap();
    // What a bucket with Object Lock takes instead is a new version: it hides the one that is there.
    let found = support::s3(moto.url(), "s3://locked")
        .powers(&name("trial"))
        .await;
    assert_eq!(found.unwrap(), Powers::Overwrite);
}

#[tokio::test(flavor = "multi_thread")]
async fn locks_and_clocks() {
    let moto = moto().await;
    moto.make_bucket("locked", true).await.unwrap();
    let locked = support::s3(moto.url(), "s3://locked/vault");
    locked
        .put(&name("a"), Bytes::from_static(b"x"))
        .await
        .unwrap();
    let lock = locked.lock_of(&name("a")).await.unwrap().unwrap();
    assert_eq!(lock.mode, "COMPLIANCE");
    assert_eq!(
        locked.try_lock(&name("a"), &lock).await.unwrap(),
        LockTrial::Enforced
    );
    assert_eq!(locked.get(&name("a"), 9).await.unwrap(), "x");

    let open = support::s3(moto.url(), "s3://bucket/vault");
    open.put(&name("a"), Bytes::new()).await.unwrap();
    assert_eq!(open.lock_of(&name("a")).await.unwrap(), None);
    assert!(open.clock_difference().is_some());
}
