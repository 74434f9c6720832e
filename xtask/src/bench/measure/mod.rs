//! Runs a program and says what it took.
//!
//! - Wall time: from before the program starts until it has ended.
//! - User and system time: of the process and of all its descendants that were waited for, from
//!   `/proc/PID/stat` after its end and before it is reaped; grain 10 ms.
//! - Read: `rchar` of `/proc/PID/io`, descendants included: all bytes that read calls gave, from
//!   whatever cache. `read_bytes` would depend on the page cache and on read-ahead. Holes count
//!   for a program that reads them.
//! - Peak memory: the highest resident set. It is sampled, and a single process's own high-water
//!   mark is sampled with it, so that only growth in its last 20 ms can be missed; of a program of
//!   several processes, the highest sum seen.

mod phase;
mod process;

pub(super) use phase::{Cache, Phase, run_phase};
