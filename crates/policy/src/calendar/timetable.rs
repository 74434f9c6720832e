//! An expression in a time zone: what is due when.

use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use super::{
    Calendar,
    search::{DAY_MICROS, Local, Search},
};

/// An expression with its zone.
///
/// A moment is due when the zone's clock shows a time of the expression; what holds when clocks are
/// set is in the [module's words](super).
#[derive(Debug, Clone)]
pub struct Timetable {
    search: Search,
    zone: TimeZone,
}

/// A stretch of time in which the zone's clock is not set. In microseconds.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    /// Local time is universal time and this.
    offset: i64,
    /// When the clock was set, and the offset before.
    since: Option<(i64, i64)>,
    /// When it is set next.
    until: Option<i64>,
}

/// Nearer than this to a moment that is looked for, each change of the clock is looked at: no local
/// time is so far from its universal time.
const NEAR: i64 = 3 * DAY_MICROS;

impl Timetable {
    pub(super) fn new(calendar: &Calendar, zone: TimeZone) -> Self {
        Self {
            search: Search::new(calendar),
            zone,
        }
    }

    /// Its zone.
    #[must_use]
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// The first moment after `after`, in whole microseconds. `None` when nothing is due any more
    /// before the end of 2199.
    #[must_use]
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        self.elapses_after(after).next()
    }

    /// All moments after `after`, in their order.
    #[must_use]
    pub fn elapses_after(&self, after: Timestamp) -> Elapses<'_> {
        Elapses {
            timetable: self,
            from: Some(micros(after) + 1),
            stretch: None,
        }
    }

    /// The first moment from `at` on. `stretch` is the one that was looked at last.
    fn first_from(&self, mut at: i64, stretch: &mut Option<Stretch>) -> Option<i64> {
        loop {
            let now = self.stretch(at, stretch)?;
            if self.is_made_up(at, now) {
                return Some(at);
            }
            let mut local = at + now.offset;
            if let Some((since, before)) = now.since
                && !self.search.every_hour()
            {
                // What the clock has shown before it was set back is over.
                local = local.max(since + before);
            }
            let found = self.search.first_from(local);
            let fits = |found: Local| now.until.is_none_or(|until| found < until + now.offset);
            if let Some(found) = found.filter(|found| fits(*found)) {
                return Some(found - now.offset);
            }
            let until = now.until?;
            at = match found {
                // Changes of the clock far before it change nothing.
                Some(found) => until.max(found - now.offset - NEAR),
                // Only what the clock shows again can follow.
                None if until - at <= NEAR => until,
                None => return None,
            };
        }
    }

    /// Whether the clock is set forward at `at`, over something that was due.
    fn is_made_up(&self, at: i64, stretch: Stretch) -> bool {
        let Some((since, before)) = stretch.since.filter(|(since, _)| *since == at) else {
            return false;
        };
        let missing = since + before..since + stretch.offset;
        !missing.is_empty()
            && !self.search.every_hour()
            && self
                .search
                .first_from(missing.start)
                .is_some_and(|found| missing.contains(&found))
    }

    fn stretch(&self, at: i64, last: &mut Option<Stretch>) -> Option<Stretch> {
        if let Some(known) = last.filter(|known| known.has(at)) {
            return Some(known);
        }
        let stretch = self.find_stretch(at)?;
        *last = Some(stretch);
        Some(stretch)
    }

    fn find_stretch(&self, at: i64) -> Option<Stretch> {
        let moment = Timestamp::from_microsecond(at).ok()?;
        let just = SignedDuration::from_nanos(1);
        let offset = |moment| i64::from(self.zone.to_offset(moment).seconds()) * 1_000_000;
        let since = self
            .zone
            .preceding(moment.checked_add(just).ok()?)
            .next()
            .and_then(|change| {
                let since = change.timestamp();
                Some((micros(since), offset(since.checked_sub(just).ok()?)))
            });
        let until = self.zone.following(moment).next();
        Some(Stretch {
            offset: offset(moment),
            since,
            until: until.map(|change| micros(change.timestamp())),
        })
    }
}

impl Stretch {
    fn has(&self, at: i64) -> bool {
        self.since.is_none_or(|(since, _)| since <= at) && self.until.is_none_or(|until| at < until)
    }
}

/// The moments of a [`Timetable`], one after the other.
#[derive(Debug, Clone)]
pub struct Elapses<'a> {
    timetable: &'a Timetable,
    /// `None` at the end.
    from: Option<i64>,
    stretch: Option<Stretch>,
}

impl Iterator for Elapses<'_> {
    type Item = Timestamp;

    fn next(&mut self) -> Option<Timestamp> {
        let from = self.from.take()?;
        let found = self.timetable.first_from(from, &mut self.stretch)?;
        self.from = Some(found + 1);
        Timestamp::from_microsecond(found).ok()
    }
}

/// Rounded down.
fn micros(at: Timestamp) -> i64 {
    let whole = at.as_microsecond();
    // What lies before 1970 is rounded towards it.
    if at.as_nanosecond() < i128::from(whole) * 1000 {
        whole - 1
    } else {
        whole
    }
}
