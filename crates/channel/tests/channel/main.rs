//! Connections over real sockets: calls both ways, slow readers, ends, and a wire that does harm.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

mod calls;
mod ends;
mod faults;
mod line;
mod pair;
mod throughput;
