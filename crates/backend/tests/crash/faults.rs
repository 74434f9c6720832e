//! Operations that fail: the error's kind, and that a failed put is whole or absent.

use std::io;

use bytes::Bytes;
use tresor_backend::sim::{Plan, SimFs};
use tresor_backend::{Backend, ErrorKind, LocalBackend, ObjectName};

fn name() -> ObjectName {
    ObjectName::new("packs/aa/one").unwrap()
}

fn body() -> Bytes {
    Bytes::from(vec![7; 10_000])
}

/// The put's outcome under a plan, and the disk after it.
async fn put_under(plan: Plan, seed: u64) -> (Option<ErrorKind>, SimFs) {
    let fs = SimFs::new(seed, plan);
    let put = LocalBackend::on(fs.clone()).put(&name(), body()).await;
    (put.err().map(|error| error.kind()), fs)
}

async fn changes_of_a_put() -> u64 {
    put_under(Plan::default(), 0).await.1.changes()
}

#[tokio::test]
async fn one_failed_operation_leaves_an_object_whole_or_absent() {
    for at in 0..changes_of_a_put().await {
        for seed in 0..20 {
            let (error, fs) = put_under(Plan::default().fail(at, io::ErrorKind::Other), seed).await;
            for cut in 0..4 {
                let after = LocalBackend::on(fs.power_cut(cut));
                match after.get(&name(), 1 << 20).await {
                    Ok(found) => assert_eq!(found, body(), "change {at}, seed {seed}"),
                    Err(missing) => {
                        assert_eq!(missing.kind(), ErrorKind::NotFound);
                        assert!(error.is_some(), "change {at}, seed {seed}: lost");
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn a_full_disk_says_so_changes_nothing_and_can_be_freed() {
    for at in 0..changes_of_a_put().await {
        let (error, fs) = put_under(Plan::default().full_from(at), at).await;
        let other = LocalBackend::on(fs.process(Plan::default().full_from(0)));
        if let Some(kind) = error {
            assert_eq!(kind, ErrorKind::Full, "change {at}");
            assert_eq!(other.list("").await.unwrap(), []);
        } else {
            other.delete(&name()).await.unwrap();
            assert_eq!(other.list("").await.unwrap(), []);
        }
        other.sweep(std::time::Duration::ZERO).await.unwrap();
    }
}

#[tokio::test]
async fn causes_reach_the_caller_as_kinds() {
    for (cause, want) in [
        (io::ErrorKind::StorageFull, ErrorKind::Full),
        (io::ErrorKind::QuotaExceeded, ErrorKind::Full),
        (io::ErrorKind::ReadOnlyFilesystem, ErrorKind::Denied),
        (io::ErrorKind::PermissionDenied, ErrorKind::Denied),
        (
            io::ErrorKind::StaleNetworkFileHandle,
            ErrorKind::Unavailable,
        ),
        (io::ErrorKind::Other, ErrorKind::Io),
    ] {
        let (error, _) = put_under(Plan::default().fail(0, cause), 0).await;
        assert_eq!(error, Some(want), "{cause:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_disk_is_only_slow() {
    let hour = std::time::Duration::from_secs(3600);
    let begun = tokio::time::Instant::now();
    let (error, _) = put_under(Plan::default().slow(hour), 0).await;
    assert_eq!(error, None);
    assert!(begun.elapsed() >= hour * 5);
}
