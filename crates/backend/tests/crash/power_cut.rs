//! For seeds × crash points: what was acknowledged is there and whole, the rest whole or absent.

use tresor_backend::local::Fs;
use tresor_backend::sim::{Moment, Plan, SimFs};

use crate::oracle::{check, run};

/// Crashes at every change of one seed's history, before and after it: the machine, or only the
/// first process, with a power cut after the others are done. Looks at several disks that each
/// crash can leave. Gives the number of disks, or the first broken promise.
pub(crate) fn crash_everywhere<F: Fs>(
    seed: u64,
    wrap: impl Fn(SimFs) -> F + Copy,
) -> Result<u64, String> {
    let (disk, promises) = run(seed, &Plan::default(), wrap);
    let at_end = |broken| format!("seed {seed}, no crash: {broken}");
    check(&disk, &promises).map_err(at_end)?;
    let mut disks = 0;
    // One more than there are: a cut after the last promise was made.
    for at in 0..=disk.changes() {
        for moment in [Moment::Before, Moment::After] {
            for plan in [
                Plan::default().cut_power(at, moment),
                Plan::default().kill(at, moment),
            ] {
                disks += cut_and_check(seed, &plan, wrap)
                    .map_err(|broken| format!("seed {seed}, {plan:?}: {broken}"))?;
            }
        }
    }
    Ok(disks)
}

fn cut_and_check<F: Fs>(
    seed: u64,
    plan: &Plan,
    wrap: impl Fn(SimFs) -> F + Copy,
) -> Result<u64, String> {
    const CUTS: u64 = 3;
    let (disk, promises) = run(seed, plan, wrap);
    for cut in 0..CUTS {
        let after = disk.power_cut(cut ^ (seed << 8));
        check(&after, &promises).map_err(|broken| format!("cut {cut}: {broken}"))?;
    }
    Ok(CUTS)
}

#[test]
fn every_promise_outlives_a_power_cut() {
    let mut disks = 0;
    for seed in 0..40 {
        match crash_everywhere(seed, |fs| fs) {
            Ok(more) => disks += more,
            Err(broken) => panic!("{broken}"),
        }
    }
    println!("{disks} disks after a power cut");
    assert!(disks > 4000, "the crash points were not counted: {disks}");
}

#[test]
fn one_seed_is_one_history() {
    let history = || {
        let (disk, promises) = run(7, &Plan::default(), |fs| fs);
        (disk.changes(), format!("{promises:?}"))
    };
    assert_eq!(history(), history());
}
