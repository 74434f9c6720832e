//! Which protected item's job starts when: spread over its start window, within limits, in time.
//!
//! A state machine without I/O and without a clock. [`Scheduler::offer`] takes an item's next start
//! window and places a start in it; [`Scheduler::tick`] says what starts now, what waits and why,
//! and what has missed its window; [`Scheduler::finish`] tells how a job ended. The same calls give
//! the same answers, always: what looks like chance is a hash of ids.
//!
//! # Placing (`slot.rs`)
//! A new item's slot is where the hash of its id falls in the window, and then the least loaded of
//! the minutes around it: fewest planned jobs on its host, storage group and vault, fewest starts in
//! the whole fleet. If none has room, the nearest that has. The slot is given back to the caller as
//! an offset from the window's opening, and comes again with the next window: while its minute bears
//! it, it stays.
//! - Why a hash: it spreads a thousand items without knowing of each other, and depends on nothing
//!   but the id. Alone it is a throw of dice: on a host of a hundred items some fall together.
//! - Why the load: it parts those. Alone (always the emptiest minute) it would place each item by
//!   all that were placed before, and an item more or less would move the rest.
//! - Why a kept offset and not one computed anew: an offer moves the offered item and no other, so
//!   adding or removing an item moves **none**. Only if all offsets are lost and the fleet is placed
//!   again does an item more or less move others: those whose least loaded minute it changes, and
//!   those that they change it for; of a fleet that uses half of its hosts a fifth at most, and one
//!   in a hundred by more than twenty minutes (`tests/stability.rs` holds both).
//! - Why not the best plan there is: durations are guesses from history. What the plan gets wrong,
//!   the tick puts right.
//!
//! # Starting (`tick.rs`, `order.rs`)
//! Whoever's slot has come waits in one order, by its earliest promise that can still be kept: the
//! end of its window, or the moment at which its next recovery point would be late. A tick goes over
//! those in order and starts what the limits of all its resources allow (earliest deadline first,
//! with a token per resource). An item that has waited ten minutes for one resource keeps what is
//! free of its others, if it is the first there, an eighth of their places at most; the rest go past it
//! where it costs it nothing.
//! - What has broken its promise goes behind what can keep one, by eight hours and no more: after
//!   a day of downtime first in first out would make the next ones late as well, one after another.
//! - Ranks are moments, so nobody is sorted again as time passes; an item is ranked anew only when a
//!   promise of it breaks. Waiting for ever is impossible: finitely many items are ever ranked before
//!   one, and the first of all gets each resource as it becomes free.
//! - A start keeps a gap from the one before on the same host, storage group or vault, whatever has
//!   heaped up: after a downtime all that are caught up start one after another, by the same order.
//!
//! # Missed windows
//! A window that closes without a start is told once, with its reason. If the next window keeps the
//! gap between points within the deadline, the item starts there; else it is caught up as soon as
//! there is room, once, however many windows have passed: a start serves all windows that opened
//! before it. A back-off holds within the window, and past it if the deadline wants that. While an
//! item's job runs, no second one starts; its window is told as missed for that, and not caught up.
//!
//! # What the caller does
//! - Calls `tick` when its [`Decisions::wake_at`] has come, and after every other call.
//! - Offers the first window that opens after the last start when a job is [`Finished::Done`] and
//!   after a miss that leads to [`AfterClose::NextWindow`]; stores the offset of its placement.
//! - After a restart offers for each item the first window after its last point, even if it is over,
//!   with `next_opens` after now; what still runs is given to [`Scheduler::adopt`] instead.
//! - Leaves blackouts out of windows, and holds back ([`Scheduler::hold`]) what would be caught up
//!   in one. A host that is away gets a limit of 0.
//!
//! # Cost
//! Timers by due time: a tick touches the items whose time has come and those that wait. Plans are
//! kept by the minute, in blocks that exist where something is planned (`ledger.rs`). Numbers:
//! `cargo xtask bench schedule`.

mod decision;
mod hash;
mod item;
mod ledger;
mod order;
mod pending;
mod resource;
mod scheduler;
#[cfg(feature = "simulation")]
pub mod simulation;
mod slot;
mod tick;
mod time;

pub use decision::*;
pub use item::*;
pub use order::AfterClose;
pub use resource::{Limit, Limits, Resource, ResourceKind};
pub use scheduler::{Finished, Outcome, Scheduler};
