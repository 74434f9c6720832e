//! The protocol of docs/format/commit-protocol.md on a simulated disk: writers, collectors, somebody
//! who expires, a racer that aborts and a reader, and at any change of any of them a power cut, a
//! kill, a failing operation or a full disk.
//!
//! Kinds of history, each from a seed alone: [`history`] mixes everything; [`succession`] kills a writer
//! at each of its changes before another one builds on what it left; [`sleeper`] kills a collector at
//! each of its changes while a writer sleeps; in [`bystander`] writers come while a plan is in effect,
//! two collectors run at once, and whoever expires is killed before a collect; in [`second_thoughts`]
//! points are deleted and brought back, and copied into a second vault.
//!
//! Invariants, checked on what the next boot finds ([`check`]):
//! - every acknowledged recovery point that nobody expired is listed and restores byte-equal;
//! - so does every other point that is listed: nothing dangles (I2);
//! - what was acknowledged as expired or aborted is no point, and the other way round;
//! - no object lacks what another one says of it;
//! - the vault can be written and collected again, and then nothing unreferenced is left.

#[path = "../../tests/support/mod.rs"]
mod support;

mod actors;
mod bystander;
mod check;
mod history;
mod planted;
mod second_thoughts;
mod sleeper;
mod soak;
mod succession;

use crate::session::PlantedBug;

/// Seeds of the normal run.
const SEEDS: u64 = 300;

/// What an invariant that broke is called.
type Broken = std::result::Result<(), String>;

/// Runs one history by itself.
fn alone(history: impl Future<Output = Broken>) -> Broken {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    runtime
        .map_err(|error| format!("no runtime: {error}"))?
        .block_on(history)
}

/// All kinds of history of one seed; the first that breaks.
fn every_kind(seed: u64, planted: Option<PlantedBug>) -> std::result::Result<(), (Kind, String)> {
    KINDS
        .into_iter()
        .try_for_each(|kind| kind.run(seed, planted).map_err(|broken| (kind, broken)))
}

/// A kind of history.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Succession,
    Sleeper,
    Bystander,
    Rivals,
    HalfExpired,
    SecondThoughts,
    Copies,
    History,
}

const KINDS: [Kind; 8] = [
    Kind::Succession,
    Kind::Sleeper,
    Kind::Bystander,
    Kind::Rivals,
    Kind::HalfExpired,
    Kind::SecondThoughts,
    Kind::Copies,
    Kind::History,
];

impl Kind {
    /// Runs the history of a seed, if there is one.
    fn run(self, seed: u64, planted: Option<PlantedBug>) -> Broken {
        match self {
            Self::Succession if seed < succession::SEEDS => {
                alone(succession::succession(seed, planted))
            }
            Self::Sleeper if seed < sleeper::SEEDS => alone(sleeper::sleeper(seed, planted)),
            Self::Bystander if seed < bystander::SEEDS => {
                alone(bystander::bystander(seed, planted))
            }
            Self::Rivals if seed < bystander::SEEDS => alone(bystander::rivals(seed, planted)),
            Self::HalfExpired if seed < bystander::HALF_EXPIRED => {
                alone(bystander::half_expired(seed, planted))
            }
            Self::SecondThoughts if seed < second_thoughts::SEEDS => {
                alone(second_thoughts::second_thoughts(seed, planted))
            }
            Self::Copies if seed < second_thoughts::SEEDS => {
                alone(second_thoughts::copies(seed, planted))
            }
            Self::History => alone(history::history(seed, planted)),
            _ => Ok(()),
        }
    }
}

fn holds(kind: Kind) {
    for seed in 0..SEEDS {
        if let Err(broken) = kind.run(seed, None) {
            panic!("{kind:?}, seed {seed}: {broken}");
        }
    }
}

#[test]
fn acknowledged_points_survive_every_crash() {
    holds(Kind::History);
}

#[test]
fn what_a_killed_writer_left_is_safe_to_build_on() {
    holds(Kind::Succession);
}

#[test]
fn a_writer_that_sleeps_through_a_killed_collect_loses_cleanly() {
    holds(Kind::Sleeper);
}

#[test]
fn writers_that_come_while_a_plan_is_in_effect_are_safe() {
    holds(Kind::Bystander);
}

#[test]
fn one_of_two_collectors_finishes_what_the_other_has_claimed() {
    holds(Kind::Rivals);
}

#[test]
fn what_is_deleted_can_be_brought_back_whoever_collects() {
    holds(Kind::SecondThoughts);
}

#[test]
fn a_copy_is_whole_whoever_collects_on_either_side() {
    holds(Kind::Copies);
}

#[test]
fn a_mark_that_a_power_cut_takes_back_has_freed_nothing() {
    holds(Kind::HalfExpired);
}
