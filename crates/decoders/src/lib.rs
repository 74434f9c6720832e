//! Every decoder of what others wrote, as a function of bytes: what the fuzzer runs (`fuzz/`), and
//! what the tests run on a fixed corpus. docs/fuzzing.md lists them.
//!
//! # Invariants
//! - A target never panics, whatever the bytes, and never gives out something that was not sealed.
//! - It never holds more memory than its input times [`Target::times`] and [`Target::above`].

mod format;
mod gateway;
mod host;
mod identity;
mod link;
mod memory;
mod others;
mod sys;

pub use memory::Counting;

/// A decoder.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// As `cargo fuzz run` takes it.
    pub name: &'static str,
    /// What it reads, and from whom.
    pub what: &'static str,
    /// Most bytes of memory for each byte of input.
    pub times: usize,
    /// Most bytes of memory beyond that.
    pub above: usize,
    /// Runs it; true when it took the bytes for good.
    pub run: fn(&[u8]) -> bool,
}

/// All of them.
#[must_use]
pub fn targets() -> Vec<Target> {
    format::TARGETS
        .iter()
        .chain(others::TARGETS)
        .chain(link::TARGETS)
        .chain(identity::TARGETS)
        .chain(gateway::TARGETS)
        .chain(host::TARGETS)
        .copied()
        .collect()
}

/// The one of that name.
#[must_use]
pub fn target(name: &str) -> Option<Target> {
    targets().into_iter().find(|target| target.name == name)
}

/// What a run took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ran {
    /// The bytes were taken for good.
    pub taken: bool,
    /// Most bytes that this thread held, beyond what it held before. 0 unless [`Counting`] is the
    /// program's allocator.
    pub peak: usize,
}

/// Runs a target and checks its memory.
///
/// # Errors
/// In words, when it held more than its limit.
pub fn run(target: &Target, bytes: &[u8]) -> Result<Ran, String> {
    let (taken, peak) = memory::peak_of(|| (target.run)(bytes));
    let limit = bytes.len() * target.times + target.above;
    if peak > limit {
        return Err(format!(
            "{} held {peak} bytes for {} of input; its limit is {limit}",
            target.name,
            bytes.len()
        ));
    }
    Ok(Ran { taken, peak })
}

/// What a fuzz target's program calls.
///
/// # Panics
/// When there is no such target, or it held more memory than it may: that is how the fuzzer learns it.
#[allow(clippy::panic, reason = "a fuzzer is told by a panic")]
pub fn fuzz(name: &str, bytes: &[u8]) {
    let Some(target) = target(name) else {
        panic!("there is no target {name}");
    };
    if let Err(error) = run(&target, bytes) {
        panic!("{error}");
    }
}
