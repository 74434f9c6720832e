//! Who goes first, and what becomes of an item whose window has closed. Pure.

use crate::item::Priority;
use crate::time::Second;

/// How much later than its broken promise an item is ranked: what can still be kept goes before
/// what cannot, but not for ever.
pub(crate) const GRACE: Second = 8 * 3600;
/// The head start of a priority.
const HEAD_START: Second = 3600;

/// What was promised of an item's next job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Promises {
    /// It starts before the window closes. None: that has closed, and it is to be caught up.
    pub closes: Option<Second>,
    /// It ends before the next point would be late.
    pub deadline: Option<Second>,
    /// What it is expected to take.
    pub takes: Second,
    /// When the item should have started: what counts where nothing is promised.
    pub due: Second,
    /// It waits since then. After a downtime that is later than anything that was promised.
    pub since: Second,
}

/// A place in the order; the smaller goes first. It stays until a moment, so nothing has to be
/// sorted again while time passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rank {
    pub by: Second,
    /// Ranked anew after this moment.
    pub until: Option<Second>,
}

/// Earliest promise first. Since a rank never moves forward faster than time, and grace and head
/// start are bounded, only finitely many items are ever ranked before one that waits.
pub(crate) fn rank(promises: &Promises, priority: Priority, now: Second) -> Rank {
    // Each with the last moment at which a start keeps it.
    let closes = promises.closes.map(|closes| (closes, closes));
    let deadline = promises.deadline;
    let deadline = deadline.map(|deadline| (deadline, deadline - promises.takes));
    let both = [closes, deadline];
    let both = both.iter().flatten();
    let kept = both.clone().filter(|(_, last)| *last >= now).min();
    let by = match (kept, both.max()) {
        (Some((kept, _)), _) => *kept,
        (None, Some((broken, _))) => (*broken).max(promises.since) + GRACE,
        (None, None) => promises.due,
    };
    let head_start = match priority {
        Priority::Low => -HEAD_START,
        Priority::Normal => 0,
        Priority::High => HEAD_START,
    };
    Rank {
        by: by - head_start,
        until: kept.map(|(_, last)| *last),
    }
}

/// What becomes of an item that did not start in its window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterClose {
    /// It starts in the next window.
    NextWindow,
    /// It starts as soon as there is room, since the next window is too late for the gap that
    /// the policy wants, or would not come.
    CatchUp,
}

/// What is known of the windows when one has closed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Closed {
    /// The earliest moment at which the item could be caught up.
    pub from: Second,
    /// When the next point has to be finished.
    pub deadline: Option<Second>,
    /// When the next window opens.
    pub next_opens: Option<Second>,
    /// How long after the opening the item starts.
    pub offset: Second,
    /// How long its job takes.
    pub takes: Second,
}

/// Decides what becomes of an item whose window has closed.
pub(crate) fn decide_after_close(closed: &Closed) -> AfterClose {
    let Some(next) = closed.next_opens else {
        return AfterClose::CatchUp;
    };
    // Before it could be caught up, the next window is open.
    let open = next <= closed.from;
    let in_time = closed
        .deadline
        .is_some_and(|deadline| next + closed.offset + closed.takes <= deadline);
    if open || in_time {
        AfterClose::NextWindow
    } else {
        AfterClose::CatchUp
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_promise_that_can_be_kept_ranks() {
        let normal = Priority::Normal;
        for (closes, deadline, priority, now, by, until) in [
            (Some(100), Some(900), normal, 50, 100, Some(100)),
            (Some(100), Some(80), normal, 50, 80, Some(70)),
            (Some(100), Some(59), normal, 50, 100, Some(100)),
            (Some(100), Some(105), normal, 50, 100, Some(100)),
            (None, Some(900), normal, 50, 900, Some(890)),
            (None, Some(40), normal, 50, 40 + GRACE, None),
            (Some(30), Some(40), normal, 50, 40 + GRACE, None),
            (None, Some(20), normal, 50, 35 + GRACE, None),
            (None, None, normal, 50, 7, None),
            (Some(100), None, Priority::High, 50, 100 - 3600, Some(100)),
            (Some(100), None, Priority::Low, 50, 100 + 3600, Some(100)),
        ] {
            let promises = Promises {
                closes,
                deadline,
                takes: 10,
                due: 7,
                since: 35,
            };
            assert_eq!(
                rank(&promises, priority, now),
                Rank { by, until },
                "{promises:?}"
            );
        }
    }

    #[test]
    fn a_missed_window_waits_for_the_next_only_if_that_is_in_time() {
        use AfterClose::{CatchUp, NextWindow};
        for (deadline, next_opens, wanted) in [
            (None, None, CatchUp),
            (None, Some(500), CatchUp),
            (None, Some(100), NextWindow),
            (Some(530), None, CatchUp),
            (Some(530), Some(500), NextWindow),
            (Some(529), Some(500), CatchUp),
            (Some(50), Some(500), CatchUp),
            (Some(50), Some(99), NextWindow),
        ] {
            let closed = Closed {
                from: 100,
                deadline,
                next_opens,
                offset: 20,
                takes: 10,
            };
            assert_eq!(
                decide_after_close(&closed),
                wanted,
                "{deadline:?} {next_opens:?}"
            );
        }
    }
}
