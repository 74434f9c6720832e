//! The vault's protocol on simulated disks, in large numbers.
//!
//! The histories are those of `crates/vault/src/simulation`: this only runs them from another seed
//! and counts.

use anyhow::Result;

use super::{
    Options,
    report::{publish, today},
    told::{Told, listen},
};

const TEST: [&str; 7] = [
    "-p",
    "tresor-vault",
    "--lib",
    "simulation::soak",
    "--",
    "--ignored",
    "--nocapture",
];

/// Runs the soak, prints and leaves its report.
pub(super) fn run(options: &Options) -> Result<()> {
    let (told, held) = listen(options, &TEST, &[])?;
    publish(options, &text(options, &told))?;
    held
}

fn text(options: &Options, told: &Told) -> String {
    let Options { runs, seed, .. } = options;
    let done = told.done.unwrap_or(0);
    let verdict = told.verdict(*runs, "No invariant broke.", "histories broke an invariant");
    let text = format!(
        "# Soak: the vault's protocol, {}\n\n`cargo xtask soak vault --runs {runs} --seed {seed}`\n\n\
         Each run is a history on a simulated disk: backups, expiry and collects in quiet; then two\n\
         writers, two collectors, an expiry, an abort and a restore at once, each with its own fate\n\
         (power cut, kill, failing operation or full disk at any change, or none); then a writer and\n\
         a collector that find what was left; a power cut; a check; collects until the vault rests; a\n\
         backup, a collect, a power cut and a check. The first runs also do one history for each\n\
         moment of a killed writer and of a collector that is killed while a writer sleeps, and some\n\
         of writers and collectors that meet a collect. What is checked is listed in `crates/vault/src/simulation/mod.rs`.\n\n\
         {done} of {runs} runs, seeds from {seed} on. {verdict}\n",
        today()
    );
    text + &told.broken_lines()
}
