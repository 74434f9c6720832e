//! What a thread holds, and the most it held during a call.

use std::cell::Cell;

pub use crate::sys::Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

pub(crate) fn more(bytes: usize) {
    change(isize::try_from(bytes).unwrap_or(isize::MAX));
}

pub(crate) fn less(bytes: usize) {
    change(isize::try_from(bytes).map_or(isize::MIN, |bytes| -bytes));
}

/// Never fails: what has no destructor is there until its thread has ended.
fn change(by: isize) {
    let held = HELD.get().saturating_add(by);
    HELD.set(held);
    PEAK.set(PEAK.get().max(held));
}

/// Runs it; gives the most that was held meanwhile, beyond what was held before.
pub(crate) fn peak_of<T>(job: impl FnOnce() -> T) -> (T, usize) {
    let before = HELD.get();
    PEAK.set(before);
    let result = job();
    let peak = PEAK.get() - before;
    (result, usize::try_from(peak).unwrap_or(0))
}
