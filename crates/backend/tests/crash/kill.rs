//! A writer that is killed, not its machine, and a reader that relies on what it sees.

use bytes::Bytes;
use tresor_backend::sim::{Moment, Plan, SimFs};
use tresor_backend::{Backend, LocalBackend, ObjectMeta, ObjectName};

async fn kill_then_look(at: u64, settles: bool) -> (SimFs, Vec<ObjectMeta>) {
    let writer = SimFs::new(1, Plan::default().kill(at, Moment::After));
    let reader = writer.process(Plan::default());
    let name = ObjectName::new("indexes/aa/one").unwrap();
    let backend = LocalBackend::on(writer);
    backend.put(&name, Bytes::from_static(b"x")).await.ok();
    let backend = LocalBackend::on(reader.clone());
    let seen = backend.list("indexes/").await.unwrap();
    if settles {
        backend.settle("indexes/").await.unwrap();
    }
    (reader, seen)
}

async fn lost_after_power_cut(at: u64, settles: bool) -> bool {
    let (machine, seen) = kill_then_look(at, settles).await;
    for seed in 0..40 {
        let backend = LocalBackend::on(machine.power_cut(seed));
        if backend.list("indexes/").await.unwrap() != seen {
            return true;
        }
    }
    false
}

const CHANGES: u64 = 12;

#[tokio::test]
async fn what_was_seen_and_settled_outlives_a_power_cut() {
    for at in 0..CHANGES {
        assert!(
            !lost_after_power_cut(at, true).await,
            "killed at change {at}"
        );
    }
}

/// The reason for `settle`: without it the same histories do lose objects that were seen.
#[tokio::test]
async fn what_was_only_seen_may_be_lost() {
    let mut lost = false;
    for at in 0..CHANGES {
        lost |= lost_after_power_cut(at, false).await;
    }
    assert!(lost);
}

#[tokio::test]
async fn what_a_killed_writer_leaves_is_swept_and_nothing_else() {
    for at in 0..CHANGES {
        for moment in [Moment::Before, Moment::After] {
            let writer = SimFs::new(at, Plan::default().kill(at, moment));
            let other = LocalBackend::on(writer.process(Plan::default()));
            let name = ObjectName::new("packs/aa/one").unwrap();
            let kept = ObjectName::new("packs/aa/kept").unwrap();
            let body = Bytes::from_static(b"x");
            other.put(&kept, body.clone()).await.unwrap();
            let backend = LocalBackend::on(writer.clone());
            backend.put(&name, body.clone()).await.ok();

            let before = other.list("").await.unwrap();
            let hour = std::time::Duration::from_secs(3600);
            assert_eq!(other.sweep(hour).await.unwrap(), 0, "too young");
            writer.advance(hour);
            other.sweep(hour).await.unwrap();
            assert_eq!(other.sweep(std::time::Duration::ZERO).await.unwrap(), 0);
            assert_eq!(other.list("").await.unwrap(), before);
            assert_eq!(other.get(&kept, 1).await.unwrap(), body);
        }
    }
}
