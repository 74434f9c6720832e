//! What follows from what was seen. Pure.

use super::protocol::Report;
use crate::QuiesceErrorKind;

/// Whether a freeze that failed so may have frozen something, or may still do so.
pub(super) fn may_be_frozen(failure: QuiesceErrorKind) -> bool {
    // A command that the agent does not run freezes nothing. Of everything else nothing is known:
    // a refusal may come after some file systems were frozen.
    failure != QuiesceErrorKind::Disabled
}

/// How a guard ended, as its parent sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct GuardEnd<'a> {
    /// Whether it was told to freeze.
    pub(super) told_to_freeze: bool,
    /// The last thing that it said.
    pub(super) last: Option<&'a Report>,
    /// Whether it ended by itself, and well.
    pub(super) success: bool,
}

/// Whether the parent must thaw in the place of a guard that ended.
pub(super) fn must_take_over(end: GuardEnd<'_>) -> bool {
    match end.last {
        _ if !end.told_to_freeze => false,
        Some(Report::Thawed { .. }) => false,
        // It went on thawing after it had said so, and ends well only when the guest is thawed.
        Some(Report::Failed { kind, .. }) if *kind == QuiesceErrorKind::LeftFrozen => !end.success,
        Some(Report::Failed { .. }) => false,
        Some(Report::Ready | Report::Frozen { .. }) | None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_did_not_run_froze_nothing() {
        assert!(!may_be_frozen(QuiesceErrorKind::Disabled));
        for kind in [
            QuiesceErrorKind::Refused,
            QuiesceErrorKind::Silent,
            QuiesceErrorKind::Garbage,
            QuiesceErrorKind::FreezeTimedOut,
        ] {
            assert!(may_be_frozen(kind), "{kind:?}");
        }
    }

    #[test]
    fn a_guard_that_ends_before_the_thaw_is_replaced() {
        let thawed = Report::Thawed {
            file_systems: 1,
            frozen_us: 1,
            held: true,
        };
        let failed = |kind| Report::Failed {
            kind,
            message: String::new(),
        };
        let refused = failed(QuiesceErrorKind::Refused);
        let left = failed(QuiesceErrorKind::LeftFrozen);
        let frozen = Report::Frozen { file_systems: 1 };
        for (told_to_freeze, last, success, expected) in [
            (false, Some(&Report::Ready), false, false),
            (false, None, false, false),
            (true, Some(&Report::Ready), false, true),
            (true, Some(&frozen), false, true),
            (true, Some(&thawed), true, false),
            (true, Some(&thawed), false, false),
            (true, Some(&refused), false, false),
            (true, Some(&left), false, true),
            (true, Some(&left), true, false),
        ] {
            let end = GuardEnd {
                told_to_freeze,
                last,
                success,
            };
            assert_eq!(must_take_over(end), expected, "{end:?}");
        }
    }
}
