//! What marks mean: whether a recovery point is listed, kept, or free to be collected. The only
//! place that decides it. Objects: docs/format/state.md and docs/format/expired.md.

use jiff::Timestamp;
use serde::Serialize;

const DAY_MS: i64 = 86_400_000;

/// How a recovery point stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Listed, restorable.
    Live,
    /// Deleted, and all of it still there: not listed, to be brought back before it is restored.
    /// For collect it is as good as live.
    Deleted,
    /// Gone for good: what no other point uses is free.
    Gone,
}

/// A deletion that can still be taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Deletion {
    /// When.
    pub at: Timestamp,
    /// It can be taken back at least until then; after that until somebody ends the point.
    pub until: Timestamp,
}

/// What is known of a recovery point besides its content.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct PointMarks {
    /// Somebody wants it to stay.
    pub pinned: bool,
    /// It cannot be removed before: by its own mark or the vault's lock.
    pub immutable_until: Option<Timestamp>,
    /// It was deleted.
    pub deleted: Option<Deletion>,
    /// Somebody ended it for good; something may hold it still.
    pub ended: bool,
    /// A mark of it, or the vault's lock, cannot be read: the point is held until it can be.
    pub unclear: bool,
}

/// What the objects say, before the vault's lock is applied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct RawMarks {
    pub(crate) pinned: bool,
    pub(crate) immutable_until_ms: Option<i64>,
    pub(crate) deleted_ms: Option<(i64, i64)>,
    /// A state says so: nothing but time holds the point any more.
    pub(crate) closed: bool,
    /// There is a bare `expired/` mark, by a program that knows no states, or after a state.
    pub(crate) expired: bool,
    pub(crate) unclear: bool,
    /// Number of the newest state; 0: there is none.
    pub(crate) number: u32,
}

/// The vault's lock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Lock {
    /// Days from a session's end for which its point is immutable; 0: not locked.
    pub(crate) days: u32,
    pub(crate) unclear: bool,
}

impl RawMarks {
    /// Whether the point's end must be known to say how it stands.
    pub(crate) fn ends(&self) -> bool {
        self.closed || self.expired
    }

    /// The marks as they count. `ended_ms` is the time in the session's end object; `None` when that
    /// cannot be read.
    pub(crate) fn with(&self, lock: Lock, ended_ms: Option<i64>) -> PointMarks {
        let locked = ended_ms
            .filter(|_| lock.days > 0)
            .map(|ended| ended.saturating_add(i64::from(lock.days) * DAY_MS));
        PointMarks {
            pinned: self.pinned,
            immutable_until: self.immutable_until_ms.max(locked).map(time),
            deleted: self.deleted_ms.map(|(at, until)| Deletion {
                at: time(at),
                until: time(until),
            }),
            // A pin outweighs a bare mark: who put it did not know of pins, or did not care.
            ended: self.closed || (self.expired && !self.pinned),
            unclear: self.unclear || lock.unclear || (lock.days > 0 && ended_ms.is_none()),
        }
    }
}

impl PointMarks {
    /// How the point stands at `now`.
    #[must_use]
    pub fn standing(&self, now: Timestamp) -> Standing {
        match self {
            _ if self.ended && !self.is_held(now) => Standing::Gone,
            // What is ended before its time stays in sight: it cannot be brought back later.
            _ if self.ended => Standing::Live,
            _ if self.deleted.is_some() => Standing::Deleted,
            _ => Standing::Live,
        }
    }

    /// Whether nobody may remove it at `now`, whatever was marked.
    #[must_use]
    pub fn is_held(&self, now: Timestamp) -> bool {
        self.unclear || self.immutable_until.is_some_and(|until| until > now)
    }

    /// Why it must not be deleted at `now`, in words.
    #[must_use]
    pub fn refuses(&self, now: Timestamp) -> Option<String> {
        if self.unclear {
            return Some("a mark of it, or the vault's lock, cannot be read".to_owned());
        }
        if let Some(until) = self.immutable_until.filter(|until| *until > now) {
            return Some(format!(
                "it is immutable until {}",
                until.strftime("%Y-%m-%d %H:%M:%S UTC")
            ));
        }
        self.pinned.then(|| "it is pinned".to_owned())
    }
}

/// Times beyond the calendar are its ends.
pub(crate) fn time(ms: i64) -> Timestamp {
    let bound = if ms < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    };
    Timestamp::from_millisecond(ms).unwrap_or(bound)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_000 * DAY_MS;

    fn standing(raw: RawMarks, days: u32, ended_ms: Option<i64>) -> Standing {
        let lock = Lock {
            days,
            unclear: false,
        };
        raw.with(lock, ended_ms).standing(time(NOW))
    }

    #[test]
    fn every_mark_alone_and_against_what_holds() {
        let none = RawMarks::default();
        let deleted = RawMarks {
            deleted_ms: Some((0, 1)),
            ..none
        };
        let closed = RawMarks {
            closed: true,
            ..deleted
        };
        let expired = RawMarks {
            expired: true,
            ..none
        };
        let held = |raw| RawMarks {
            immutable_until_ms: Some(NOW + 1),
            ..raw
        };
        let over = |raw| RawMarks {
            immutable_until_ms: Some(NOW),
            ..raw
        };
        let pinned = |raw| RawMarks {
            pinned: true,
            ..raw
        };
        let unclear = |raw| RawMarks {
            unclear: true,
            ..raw
        };
        let cases = [
            (none, Standing::Live),
            // However long ago: only an end is an end.
            (deleted, Standing::Deleted),
            (held(deleted), Standing::Deleted),
            (closed, Standing::Gone),
            (expired, Standing::Gone),
            (held(closed), Standing::Live),
            (held(expired), Standing::Live),
            (over(closed), Standing::Gone),
            (over(expired), Standing::Gone),
            (pinned(expired), Standing::Live),
            (pinned(closed), Standing::Gone),
            (unclear(closed), Standing::Live),
            (unclear(expired), Standing::Live),
        ];
        for (raw, expected) in cases {
            assert_eq!(standing(raw, 0, Some(0)), expected, "{raw:?}");
        }
    }

    #[test]
    fn a_locked_vault_holds_each_point_from_its_end_on() {
        let expired = RawMarks {
            expired: true,
            ..RawMarks::default()
        };
        let day = |days: i64| Some(NOW - days * DAY_MS);
        assert_eq!(standing(expired, 10, day(9)), Standing::Live);
        assert_eq!(standing(expired, 10, day(10)), Standing::Gone);
        assert_eq!(standing(expired, u32::MAX, Some(i64::MAX)), Standing::Live);
        // Nobody knows when it ended.
        assert_eq!(standing(expired, 10, None), Standing::Live);
        assert_eq!(standing(expired, 0, None), Standing::Gone);
        // The longer of the two counts.
        let own = RawMarks {
            immutable_until_ms: Some(NOW + DAY_MS),
            ..expired
        };
        assert_eq!(standing(own, 10, day(20)), Standing::Live);
    }
}
