//! A full fleecing store costs the snapshot, never a guest write.
#![allow(missing_docs)]

mod vm;

use tresor_disk::{ErrorKind, Outcome, PauseMode, SnapshotProvider};
use tresor_model::Extent;
use vm::{DISK, GRAIN, Vm, assert_same, blank, ledger, paint, restore, snapshot, stream};

/// Room for a few clusters of old data.
const SMALL: u64 = 1 << 20;

#[tokio::test]
async fn a_full_store_loses_the_snapshot_and_nothing_else() {
    let vm = Vm::start().await;
    let provider = vm.provider().await;
    vm.write("vda", 1, 0, DISK).await;
    let base = snapshot(&provider, vm.request(&[("vda", None)]), PauseMode::StopVm).await;
    let first = ledger(base.as_ref(), "vda");
    let mut restored = blank();
    restore(base.as_ref(), "vda", &mut restored).await;
    base.end(Outcome::Committed).await.expect("ends");

    let mut request = vm.request(&[("vda", Some(&first))]);
    request.fleecing_limit = Some(SMALL);
    let session = snapshot(&provider, request, PauseMode::StopVm).await;
    // `write` fails the test when the guest's write fails.
    vm.write("vda", 2, 0, DISK / 2).await;
    assert!(vm.is_running().await);
    let store = std::fs::read_dir(vm.path("fleece")).expect("there").next();
    let size = store
        .expect("one")
        .expect("entry")
        .metadata()
        .expect("there")
        .len();
    assert!(size <= SMALL, "{size}");
    let reader = match session.open(&stream("vda")).await {
        Ok(reader) => reader.read(Extent::between(0, GRAIN)).await.map(drop),
        Err(error) => Err(error),
    };
    assert_eq!(reader.expect_err("lost").kind(), ErrorKind::SnapshotLost);
    let window = Extent::between(0, DISK);
    let extents = session.extents(&stream("vda"), window).await;
    assert_eq!(extents.expect_err("lost").kind(), ErrorKind::SnapshotLost);
    session.end(Outcome::Abandoned).await.expect("ends");
    assert_eq!(vm.leftovers().await, Vec::<String>::new());

    // Nothing of the guest's writes is missing in the next incremental.
    let session = snapshot(
        &provider,
        vm.request(&[("vda", Some(&first))]),
        PauseMode::StopVm,
    )
    .await;
    let mut truth = blank();
    truth.fill(1);
    paint(&mut truth, 2, 0, DISK / 2);
    restore(session.as_ref(), "vda", &mut restored).await;
    assert_same(&restored, &truth);
    session.end(Outcome::Committed).await.expect("ends");
}

#[tokio::test]
async fn a_limit_that_holds_no_image_is_refused() {
    let vm = Vm::start().await;
    let provider = vm.provider().await;
    let mut request = vm.request(&[("vda", None)]);
    request.fleecing_limit = Some(4096);
    let Err(error) = provider.prepare(request).await else {
        panic!("prepared");
    };
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert_eq!(vm.leftovers().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_missing_limit_lets_the_whole_disk_be_overwritten() {
    let vm = Vm::start().await;
    let provider = vm.provider().await;
    vm.write("vdb", 1, 0, DISK).await;
    let session = snapshot(&provider, vm.request(&[("vdb", None)]), PauseMode::StopVm).await;
    vm.write("vdb", 2, 0, DISK).await;
    let mut truth = blank();
    truth.fill(1);
    let mut restored = blank();
    restore(session.as_ref(), "vdb", &mut restored).await;
    assert_same(&restored, &truth);
    session.end(Outcome::Abandoned).await.expect("ends");
}
