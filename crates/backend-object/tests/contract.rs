//! The contract on every store: real servers, one in this process, and the double of Google's.
#![expect(clippy::unwrap_used, reason = "helpers of tests, which may panic")]

mod support;

use std::sync::Arc;

use tresor_backend::contract::{self, CHECKS, suite};
use tresor_backend::wrap::{Backoff, Retrying};
use tresor_backend::{Backend, ObjectName};
use tresor_testkit::stores::{Azurite, Fault, GoogleDouble, Moto, Proxy};

const MIB: usize = 1 << 20;

async fn examine(backend: impl Backend + 'static, big_len: usize) {
    let area = ObjectName::new("examined").unwrap();
    if let Err(broken) = suite(Arc::new(backend), &area, big_len).await {
        let mut said = broken.to_string();
        let mut below = std::error::Error::source(&broken);
        while let Some(error) = below {
            said = format!("{said}: {error}");
            below = error.source();
        }
        panic!("{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_by_moto() {
    let moto = Moto::start().unwrap();
    moto.make_bucket("bucket", false).await.unwrap();
    examine(support::s3(moto.url(), "s3://bucket/a/vault"), 64 * MIB).await;
    examine(support::s3(moto.url(), "s3://bucket"), MIB).await;
}

/// `s3s-fs` is atomic only for one writer and fails on names that are prefixes; the proxy before it
/// takes care of both. It also has no room for long names, as the suite sees.
#[tokio::test(flavor = "multi_thread")]
async fn s3_in_this_process() {
    let dir = tempfile::tempdir().unwrap();
    let url = support::serve_directory(dir.path(), "bucket").await;
    let tame = Proxy::start(&url, Fault::Tame).await.unwrap();
    let backend: Arc<dyn Backend> = Arc::new(support::s3(tame.url(), "s3://bucket/vault"));
    let mut broken = Vec::new();
    for (nth, check) in CHECKS.iter().enumerate() {
        let area = format!("examined/{nth}");
        if let Err(found) = contract::examine(check, &backend, area, 64 * MIB, true).await {
            broken.push(found.check());
        }
    }
    assert_eq!(broken, ["every legal name works"]);
    let bare: Arc<dyn Backend> = Arc::new(support::s3(&url, "s3://bucket/bare"));
    let area = ObjectName::new("examined").unwrap();
    let broken = suite(bare, &area, MIB).await.unwrap_err();
    assert_eq!(broken.check(), "what is missing is not found");
}

#[tokio::test(flavor = "multi_thread")]
async fn azure_by_azurite() {
    let azurite = Azurite::start().unwrap();
    azurite.make_container("container").await.unwrap();
    examine(support::azure(&azurite, "az://container/vault"), 64 * MIB).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_double_of_google() {
    let google = GoogleDouble::start("bucket", "token").await.unwrap();
    examine(
        support::google(google.url(), "gs://bucket/vault", "token"),
        64 * MIB,
    )
    .await;
}

/// A server that is busy now and then is waited for.
#[tokio::test(flavor = "multi_thread")]
async fn s3_that_says_slow_down() {
    let moto = Moto::start().unwrap();
    moto.make_bucket("bucket", false).await.unwrap();
    // Not the put of an object's own bytes again: told to wait and put once more, `Retrying` cannot know
    // that the object was there before, and calls it done.
    let proxy = Proxy::start(moto.url(), Fault::SlowDown(11)).await.unwrap();
    let backoff = Backoff {
        first: std::time::Duration::from_millis(1),
        ..Backoff::default()
    };
    let backend = support::s3(proxy.url(), "s3://bucket/vault");
    examine(Retrying::new(backend, backoff), MIB).await;
}
