//! The contract on every backend and wrapper.
#![expect(clippy::unwrap_used, reason = "helpers of tests, which may panic")]

use std::num::NonZeroU64;
use std::sync::Arc;

use tresor_backend::contract::suite;
use tresor_backend::sim::{Plan, SimFs};
use tresor_backend::wrap::{
    Backoff, Fault, Faulty, Kept, Metered, Paced, Retrying, Throttled, Verb,
};
use tresor_backend::{Backend, ErrorKind, LocalBackend, MemoryBackend, ObjectName};

const MIB: usize = 1 << 20;

async fn examine(backend: impl Backend + 'static, big_len: usize) {
    let area = ObjectName::new("examined").unwrap();
    if let Err(broken) = suite(Arc::new(backend), &area, big_len).await {
        panic!("{broken}: {:?}", std::error::Error::source(&broken));
    }
}

#[tokio::test]
async fn memory() {
    examine(MemoryBackend::new(), 64 * MIB).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn local_directory() {
    let dir = tempfile::tempdir().unwrap();
    examine(LocalBackend::open(dir.path()).await.unwrap(), 64 * MIB).await;
}

#[tokio::test]
async fn local_on_a_simulated_disk() {
    for seed in 0..4 {
        let fs = SimFs::new(seed, Plan::default().interleave(3));
        examine(LocalBackend::on(fs), 3 * MIB).await;
    }
}

fn memory_that(fault: Fault) -> Faulty<MemoryBackend> {
    Faulty::new(MemoryBackend::new(), vec![fault])
}

#[tokio::test]
async fn metered() {
    examine(Metered::new(MemoryBackend::new()), MIB).await;
}

#[tokio::test]
async fn faulty_without_faults() {
    examine(Faulty::new(MemoryBackend::new(), Vec::new()), MIB).await;
}

#[tokio::test]
async fn kept() {
    let dir = tempfile::tempdir().unwrap();
    let copies = dir.path().join("copies");
    examine(Kept::new(MemoryBackend::new(), copies, &["examined"]), MIB).await;
}

#[tokio::test]
async fn throttled() {
    let rate = NonZeroU64::new(1 << 30).unwrap();
    examine(Throttled::new(MemoryBackend::new(), rate), MIB).await;
}

#[tokio::test]
async fn paced() {
    let rate = NonZeroU64::new(1 << 20).unwrap();
    examine(Paced::new(MemoryBackend::new(), rate), MIB).await;
}

/// Every third call of a verb fails; each second of these takes effect, but its answer is lost.
/// Not puts: after a lost answer a second put of equal bytes is success, which the contract of a
/// store that answers forbids. They have a test of their own (`wrap.rs`).
#[tokio::test]
async fn retrying_over_lost_answers() {
    let verbs = Verb::ALL.into_iter().filter(|verb| *verb != Verb::Put);
    let faults = verbs.flat_map(|verb| {
        (0..600).step_by(3).map(move |nth| {
            let fault = Fault::new(ErrorKind::Unavailable).on(verb);
            let fault = fault.calls(nth..nth + 1);
            if nth % 2 == 0 {
                fault.after_effect()
            } else {
                fault
            }
        })
    });
    let faulty = Faulty::new(MemoryBackend::new(), faults.collect());
    let backoff = Backoff {
        first: std::time::Duration::from_micros(1),
        ..Backoff::default()
    };
    examine(Retrying::new(faulty, backoff), MIB).await;
}

#[tokio::test]
async fn a_stack_of_shared_wrappers() {
    let shared: Arc<dyn Backend> = Arc::new(MemoryBackend::new());
    let stack = Metered::new(Retrying::new(shared, Backoff::default()));
    examine(stack, MIB).await;
}

/// The suite is itself tested: it sees what a careless store does.
#[tokio::test]
async fn the_suite_sees_a_store_that_breaks_promises() {
    for fault in [
        Fault::new(ErrorKind::Io).on(Verb::Put).calls(7..8),
        Fault::new(ErrorKind::Io).on(Verb::Get).calls(9..10),
        Fault::new(ErrorKind::NotFound).on(Verb::Delete).calls(5..6),
        Fault::new(ErrorKind::Io).on(Verb::List).calls(20..21),
        Fault::new(ErrorKind::Io).on(Verb::Sweep),
    ] {
        let said = format!("{fault:?}");
        let area = ObjectName::new("examined").unwrap();
        let found = suite(Arc::new(memory_that(fault)), &area, MIB).await;
        assert!(found.is_err(), "{said}");
    }
}
