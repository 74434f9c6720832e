//! A small fleet over some days, as `cargo xtask bench schedule` runs a large one.

use tresor_schedule::simulation::{Options, Unwatched, run, run_cron};

fn options(seed: u64) -> Options {
    Options {
        items: 1000,
        days: 9,
        seed,
    }
}

#[test]
fn a_fleet_is_spread_and_served() {
    for seed in 1..=3 {
        let figures = run(options(seed), &mut Unwatched);
        println!("{figures:#?}");
    }
    println!("{:#?}", run_cron(options(1)));
}
