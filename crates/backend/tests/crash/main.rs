//! The local directory under power cuts and kills: what was promised must hold at every crash
//! point, and a promise broken on purpose must be noticed.

#![expect(clippy::unwrap_used, reason = "helpers of tests, which may panic")]

mod faults;
mod kill;
mod oracle;
mod planted;
mod power_cut;
