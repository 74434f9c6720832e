//! Full and incremental snapshots of a real QEMU, read back and compared with what "the guest"
//! had written at that moment.
#![allow(missing_docs)]

mod vm;

use tresor_disk::{BitmapJudgement, ExtentKind, Outcome, PauseMode, SnapshotProvider};
use tresor_model::ReadMode;
use vm::{
    DISK, GRAIN, Vm, assert_same, blank, grains, judgement, ledger, paint, restore, snapshot,
    stream,
};

#[tokio::test]
async fn a_full_then_an_incremental_of_exactly_what_changed() {
    let vm = Vm::start().await;
    let provider = vm.provider().await;
    let mut truth = blank();
    vm.write("vda", 1, 0, 2 * GRAIN).await;
    paint(&mut truth, 1, 0, 2 * GRAIN);

    let request = vm.request(&[("vda", None)]);
    let full = snapshot(&provider, request, PauseMode::StopVm).await;
    let expected = [
        (0, 2, ExtentKind::Data),
        (2, DISK / GRAIN - 2, ExtentKind::Zero),
    ];
    assert_eq!(grains(full.as_ref(), "vda").await, expected);
    let mut restored = blank();
    restore(full.as_ref(), "vda", &mut restored).await;
    assert_same(&restored, &truth);
    assert!(full.paused_for().is_some() && vm.is_running().await);
    let first = ledger(full.as_ref(), "vda");
    full.end(Outcome::Committed).await.expect("ends");
    assert_eq!(vm.leftovers().await, Vec::<String>::new());

    // Half a grain of data, and a grain of zeros where data was.
    vm.write("vda", 2, 5 * GRAIN + 512, GRAIN / 2).await;
    vm.write("vda", 0, GRAIN, GRAIN).await;
    paint(&mut truth, 2, 5 * GRAIN + 512, GRAIN / 2);
    paint(&mut truth, 0, GRAIN, GRAIN);
    let request = vm.request(&[("vda", Some(&first))]);
    let prepared = provider.prepare(request).await.expect("prepares");
    let bitmap = first.bitmap.clone().expect("has one");
    let trusted = BitmapJudgement::Trusted { bitmap };
    assert_eq!(judgement(prepared.as_ref(), "vda"), trusted);
    let incremental = prepared.take(PauseMode::GuestFrozen).await.expect("takes");
    let changed = grains(incremental.as_ref(), "vda").await;
    let touched: Vec<(u64, u64)> = changed.iter().map(|(at, count, _)| (*at, *count)).collect();
    assert_eq!(touched, [(1, 1), (5, 1)]);
    restore(incremental.as_ref(), "vda", &mut restored).await;
    assert_same(&restored, &truth);
    let second = ledger(incremental.as_ref(), "vda");
    incremental.end(Outcome::Committed).await.expect("ends");
    incremental
        .end(Outcome::Committed)
        .await
        .expect("ends twice");
    assert_eq!(vm.leftovers().await, Vec::<String>::new());
    let bitmaps = vm.bitmap_names("vda.qcow2").await;
    assert_eq!(bitmaps, [second.bitmap.expect("has one")]);
}

#[tokio::test]
async fn two_disks_show_one_moment_while_the_guest_writes_on() {
    let vm = Vm::start().await;
    let provider = vm.provider().await;
    for disk in ["vda", "vdb"] {
        vm.write(disk, 1, 0, DISK).await;
    }
    let request = vm.request(&[("vda", None), ("vdb", None)]);
    let session = snapshot(&provider, request, PauseMode::StopVm).await;
    for disk in ["vda", "vdb"] {
        vm.write(disk, 2, GRAIN, 3 * GRAIN).await;
    }
    let mut truth = blank();
    truth.fill(1);
    for disk in ["vda", "vdb"] {
        let mut restored = blank();
        restore(session.as_ref(), disk, &mut restored).await;
        assert_same(&restored, &truth);
        vm.write(disk, 3, 7 * GRAIN, GRAIN).await;
        let mut restored = blank();
        restore(session.as_ref(), disk, &mut restored).await;
        assert_same(&restored, &truth);
    }
    let ledgers = ["vda", "vdb"].map(|disk| ledger(session.as_ref(), disk));
    session.end(Outcome::Committed).await.expect("ends");
    let [a, b] = &ledgers;
    let request = vm.request(&[("vda", Some(a)), ("vdb", Some(b))]);
    let next = snapshot(&provider, request, PauseMode::StopVm).await;
    let changed = [(1, 3, ExtentKind::Data), (7, 1, ExtentKind::Data)];
    for disk in ["vda", "vdb"] {
        assert_eq!(grains(next.as_ref(), disk).await, changed, "{disk}");
    }
    next.end(Outcome::Committed).await.expect("ends");
}

#[tokio::test]
async fn a_raw_disk_is_tracked_while_the_vm_lives_and_read_in_full_after_a_restart() {
    let mut vm = Vm::start().await;
    let provider = vm.provider().await;
    let session = snapshot(&provider, vm.request(&[("raw", None)]), PauseMode::StopVm).await;
    let first = ledger(session.as_ref(), "raw");
    assert!(!first.persistent);
    session.end(Outcome::Committed).await.expect("ends");

    vm.write("raw", 9, 3 * GRAIN, GRAIN).await;
    let request = vm.request(&[("raw", Some(&first))]);
    let session = snapshot(&provider, request, PauseMode::StopVm).await;
    assert_eq!(
        grains(session.as_ref(), "raw").await,
        [(3, 1, ExtentKind::Data)]
    );
    let second = ledger(session.as_ref(), "raw");
    session.end(Outcome::Committed).await.expect("ends");

    vm.quit().await;
    vm.boot().await;
    let request = vm.request(&[("raw", Some(&second))]);
    let session = snapshot(&provider, request, PauseMode::StopVm).await;
    let mode = session.disks().first().expect("one").read_mode.clone();
    assert!(matches!(mode, ReadMode::Full { reason } if reason.contains("over a restart")));
    session.end(Outcome::Abandoned).await.expect("ends");
}

#[tokio::test]
async fn windows_of_extents_join_to_the_whole() {
    let vm = Vm::start().await;
    let provider = vm.provider().await;
    vm.write("vda", 1, 3 * GRAIN, 2 * GRAIN).await;
    let session = snapshot(&provider, vm.request(&[("vda", None)]), PauseMode::StopVm).await;
    let window = tresor_model::Extent::between(4 * GRAIN, 6 * GRAIN);
    let part = session
        .extents(&stream("vda"), window)
        .await
        .expect("extents");
    let kinds: Vec<_> = part
        .iter()
        .map(|changed| (changed.extent.start, changed.kind))
        .collect();
    let expected = [(4 * GRAIN, ExtentKind::Data), (5 * GRAIN, ExtentKind::Zero)];
    assert_eq!(kinds, expected);
    session.end(Outcome::Abandoned).await.expect("ends");
    assert_eq!(vm.bitmap_names("vda.qcow2").await, Vec::<String>::new());
}
