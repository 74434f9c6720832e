//! A share of `cargo xtask soak interrupts`: a backup that is cut off, at any moment, by whatever
//! happens, harms neither the guest nor the chain of bitmaps nor the vault, and leaves nothing.

use std::{ops::Range, path::Path};

use tresor_testkit::interrupts::{Lab, schedule};

/// What the runs are derived from.
const SEED: u64 = 20;

/// Runs of the schedule, in one lab.
async fn runs(which: Range<usize>) {
    let program = Path::new(env!("CARGO_BIN_EXE_tresor"));
    let points = Lab::kill_points(program).await.unwrap();
    let turns = schedule(points.len(), which.end, SEED);
    let mut lab = Lab::new(program).await.unwrap();
    for (number, turn) in turns.iter().enumerate().skip(which.start) {
        let point = &points[turn.point];
        let done = lab.interrupt(point, *turn).await;
        done.unwrap_or_else(|error| panic!("run {number}, {point:?}, {}: {error:?}", turn.fault));
    }
}

#[tokio::test]
async fn a_backup_cut_off_anywhere_harms_nothing_1() {
    runs(0..5).await;
}

#[tokio::test]
async fn a_backup_cut_off_anywhere_harms_nothing_2() {
    runs(5..10).await;
}

#[tokio::test]
async fn a_backup_cut_off_anywhere_harms_nothing_3() {
    runs(10..15).await;
}

#[tokio::test]
async fn a_backup_cut_off_anywhere_harms_nothing_4() {
    runs(15..20).await;
}
