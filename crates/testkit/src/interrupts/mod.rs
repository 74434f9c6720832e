//! Interruptions: any fault at any moment of a backup, and what must hold afterwards.
//!
//! The moments come from the program itself (`tresor debug kill-points`), which makes them from its
//! table of sub-tasks; it must be built with the feature `kill-points` so that it can be held
//! there. [`schedule`] pairs them with the [`Fault`]s, [`Lab::interrupt`] does one run:
//!
//! 1. something changes in the guest, a backup is started and held at the moment;
//! 2. the fault is injected, the program is let go, and its end is noted;
//! 3. the fault is lifted (a dead QEMU is started again);
//! 4. the next backup must succeed, incremental or with a reason, and nothing may be left behind:
//!    see `check`.
//!
//! # Invariants
//! - A run that finds something wrong is an error of that run; the lab is not used again.
//! - Only what a lab started is ever killed, unmounted or cut.

mod check;
mod fault;
mod host;
mod inject;
mod lab;
mod run;
mod schedule;
mod store;
mod writers;

pub use fault::Fault;
pub use lab::Lab;
pub use run::{Outcome, Report};
pub use schedule::{Turn, schedule};
