//! The same in large numbers, for `cargo xtask soak vault`.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{KINDS, Kind};

/// `TRESOR_SOAK_RUNS` histories with seeds from `TRESOR_SOAK_SEED` on, and each of the other kinds that there
/// is. Says on stdout what the report needs. One thread for each processor: a history is its seed, whatever runs beside it.
#[test]
#[ignore = "run by `cargo xtask soak vault`"]
fn soak() {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let runs = number("TRESOR_SOAK_RUNS").expect("TRESOR_SOAK_RUNS is a number");
    let first = number("TRESOR_SOAK_SEED").expect("TRESOR_SOAK_SEED is a number");
    let (next, broken) = (AtomicU64::new(0), AtomicU64::new(0));
    let told = |kind: &str, seed: u64, outcome: super::Broken| {
        if let Err(text) = outcome {
            broken.fetch_add(1, Ordering::Relaxed);
            println!("BROKEN {kind} {seed}: {text}");
        }
    };
    let work = || {
        loop {
            let run = next.fetch_add(1, Ordering::Relaxed);
            if run >= runs {
                return;
            }
            let seed = first.wrapping_add(run);
            told("History", seed, Kind::History.run(seed, None));
            for kind in KINDS {
                if !matches!(kind, Kind::History) {
                    told(&format!("{kind:?}"), run, kind.run(run, None));
                }
            }
            if (run + 1).is_multiple_of(500) {
                println!("RUNS {}", run + 1);
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let broken = broken.into_inner();
    println!("DONE {runs} {broken}");
    assert_eq!(broken, 0, "see above");
}
