//! A small fleet over some days, as `cargo xtask bench schedule` runs a large one.

use tresor_schedule::simulation::{Figures, Options, Unwatched, run, run_cron};

fn options(seed: u64) -> Options {
    Options {
        items: 1000,
        days: 9,
        seed,
    }
}

fn check(figures: &Figures, seed: u64) {
    let [_, host, group, vault] = figures.peak;
    assert!(
        host <= 2 && group <= 40 && vault <= 100,
        "seed {seed}: {:?}",
        figures.peak
    );
    assert_eq!(figures.together, [1; 3], "seed {seed}: gaps hold");
    assert_eq!(figures.starved, 0, "seed {seed}");
    assert_eq!(figures.caught_up_twice, 0, "seed {seed}");
    // The downtime of a day: each item once, but for those that a window of it served.
    let away = figures.missed.get("service away").copied().unwrap_or(0);
    assert!((900..=1000).contains(&away), "seed {seed}: {away}");
    assert!(
        (900..1100).contains(&figures.caught_up),
        "seed {seed}: {}",
        figures.caught_up
    );
    // By chance a minute of the night would have up to 10 starts, with a mean of 2.
    assert!(
        figures.nightly_starts.most <= 9,
        "seed {seed}: {:?}",
        figures.nightly_starts
    );
    assert_eq!(figures.moves.median, 0, "seed {seed}: {:?}", figures.moves);
    assert!(
        figures.slots_moved < 5000,
        "seed {seed}: {}",
        figures.slots_moved
    );
    // How long jobs take is not known beforehand: of a thousand items some are late for that, in
    // the first hour after the downtime. A host that goes away within the window is not
    // known beforehand either. Where nothing was away, none is late.
    let [service, outage, otherwise] = figures.could_be_met;
    assert!(service <= 15, "seed {seed}: {service}");
    assert!(outage <= 3, "seed {seed}: {outage}");
    assert_eq!(otherwise, 0, "seed {seed}");
}

#[test]
fn a_fleet_is_spread_and_served() {
    for seed in 1..=3 {
        let figures = run(options(seed), &mut Unwatched);
        println!("{figures:#?}");
        check(&figures, seed);
    }
}

#[test]
fn a_simulation_repeats() {
    assert_eq!(
        run(options(4), &mut Unwatched),
        run(options(4), &mut Unwatched)
    );
}

/// The yardstick measures: a fixed-time cron fails every one of these.
#[test]
fn a_cron_is_not_spread() {
    let ours = run(options(1), &mut Unwatched);
    let cron = run_cron(options(1));
    assert!(cron.nightly_starts.most > 800, "{:?}", cron.nightly_starts);
    assert!(cron.peak[1] > 50, "{:?}", cron.peak);
    assert!(cron.late > ours.late && cron.could_be_met[2] > 50);
}
