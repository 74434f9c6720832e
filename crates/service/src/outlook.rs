//! When an item starts next: its policy's windows, seen from what was last done for it.

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use tresor_catalog::{ItemRecord, ItemState};
use tresor_policy::{Policy, calendar::UnknownZone, windows::Windows};
use tresor_schedule::Window;

/// A policy, ready to be asked.
#[derive(Debug)]
pub struct Outlook {
    /// The document.
    pub policy: Policy,
    /// Its revision in the catalog.
    pub revision: u64,
    windows: Windows,
    /// The longest gap between points that it can promise.
    gap: Option<SignedDuration>,
}

impl Outlook {
    /// Looks at a policy from `now` on. Schedules without a zone are in `zone`.
    ///
    /// # Errors
    /// When one of its zones does not exist on this machine.
    pub fn new(
        policy: Policy,
        revision: u64,
        zone: &TimeZone,
        now: Timestamp,
    ) -> Result<Self, UnknownZone> {
        let windows = policy.windows(zone, jiff::tz::db())?;
        let gap = windows.rpo(now).worst.map(|gap| gap.length());
        Ok(Self {
            policy,
            revision,
            windows,
            gap,
        })
    }

    /// The first window that is not over with: of an occasion that is due after `served` (the last start
    /// that counts), and that opens after `missed`, if a window was missed. `None`: nothing is due any more.
    #[must_use]
    pub fn window_after(
        &self,
        served: Timestamp,
        missed: Option<Timestamp>,
        last_point: Option<Timestamp>,
        now: Timestamp,
    ) -> Option<Window> {
        let open = self.start_windows(served);
        let window = open
            .filter(|(opens, _)| missed.is_none_or(|missed| *opens > missed))
            .find(|(opens, closes)| opens <= closes)?;
        Some(self.window(window, last_point, now))
    }

    /// The window that opened at `opens`, which must have been one of this policy's: else, as after a
    /// change of the policy, `None`.
    #[must_use]
    pub fn window_at(
        &self,
        opens: Timestamp,
        last_point: Option<Timestamp>,
        now: Timestamp,
    ) -> Option<Window> {
        // An occasion is due when its first window opens, or before.
        let from = opens
            .saturating_sub(LONGEST_OCCASION)
            .unwrap_or(Timestamp::MIN);
        let mut windows = self
            .start_windows(from)
            .take_while(|window| window.0 <= opens);
        let window = windows.find(|window| window.0 == opens)?;
        Some(self.window(window, last_point, now))
    }

    /// The longest gap between recovery points that the policy can promise; `None`: it is due once at most.
    #[must_use]
    pub fn gap(&self) -> Option<SignedDuration> {
        self.gap
    }

    /// When an item's next backup is to start, as it stands in the catalog: its place in its next window, or
    /// the end of a back-off. `None` while nothing is to start. It may have to wait for others then.
    #[must_use]
    pub fn next_start(&self, item: &ItemRecord, now: Timestamp) -> Option<Timestamp> {
        if item.state != ItemState::Protected {
            return None;
        }
        let memory = &item.memory;
        if memory.open_window.is_some() {
            return memory.not_before; // else it runs
        }
        let served = memory.last_started_at.max(Some(item.since))?;
        // What has closed will be caught up or left; what comes is what is asked for.
        let window = self.window_after(served, None, memory.last_point_at, now)?;
        let window = match window.closes < now {
            true => self.window_after(now, None, memory.last_point_at, now)?,
            false => window,
        };
        let offset = SignedDuration::from_secs(i64::try_from(memory.slot_s.unwrap_or(0)).ok()?);
        Some(window.opens.checked_add(offset).ok()?.min(window.closes))
    }

    /// Whether something is due after `now` at all.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.windows.after(now).next().is_none()
    }

    fn window(
        &self,
        (opens, closes): (Timestamp, Timestamp),
        last_point: Option<Timestamp>,
        now: Timestamp,
    ) -> Window {
        let next = self.start_windows(now.max(opens)).next();
        Window {
            opens,
            closes,
            deadline: last_point
                .zip(self.gap)
                .and_then(|(point, gap)| point.checked_add(gap).ok()),
            next_opens: next.map(|(opens, _)| opens),
        }
    }

    /// First and last start of each window, of occasions that are due after `after`.
    fn start_windows(&self, after: Timestamp) -> impl Iterator<Item = (Timestamp, Timestamp)> + '_ {
        let second = SignedDuration::from_secs(1);
        let occasions = self
            .windows
            .after(after)
            .flat_map(|occasion| occasion.windows);
        occasions.map(move |window| {
            let last = window.closes.checked_sub(second).unwrap_or(window.closes);
            (window.opens, last)
        })
    }
}

/// A schedule's window is a week at most.
const LONGEST_OCCASION: SignedDuration = SignedDuration::from_hours(7 * 24 + 1);

#[cfg(test)]
mod tests {
    use super::*;

    fn outlook(document: &str) -> Outlook {
        let policy: Policy = serde_json::from_str(document).unwrap();
        Outlook::new(policy, 1, &TimeZone::UTC, at("2026-01-01T00:00:00Z")).unwrap()
    }

    fn nightly() -> Outlook {
        outlook(r#"{"name":"n","schedules":[{"calendar":"22:00","window":"6h"}]}"#)
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_start_serves_the_occasion_it_is_in() {
        let nightly = nightly();
        let now = at("2026-03-02T03:00:00Z");
        let window = |served| nightly.window_after(at(served), None, None, now).unwrap();
        assert_eq!(
            window("2026-03-01T21:59:59Z").opens,
            at("2026-03-01T22:00:00Z")
        );
        assert_eq!(
            window("2026-03-01T23:30:00Z").opens,
            at("2026-03-02T22:00:00Z")
        );
        let open = window("2026-03-01T21:59:59Z");
        assert_eq!(open.closes, at("2026-03-02T03:59:59Z"));
        assert_eq!(open.next_opens, Some(at("2026-03-02T22:00:00Z")));
    }

    #[test]
    fn a_blackout_parts_a_window_and_the_second_part_is_for_who_missed_the_first() {
        let parted = outlook(
            r#"{"name":"n","schedules":[{"calendar":"22:00","window":"6h"}],
                "blackouts":[{"calendar":"23:00","lasts":"1h"}]}"#,
        );
        let (day, first) = (at("2026-03-01T12:00:00Z"), at("2026-03-01T22:00:00Z"));
        let window = parted.window_after(day, None, None, day).unwrap();
        assert_eq!(
            (window.opens, window.closes),
            (first, at("2026-03-01T22:59:59Z"))
        );
        let missed = parted.window_after(day, Some(first), None, day).unwrap();
        assert_eq!(missed.opens, at("2026-03-02T00:00:00Z"));
        let served = parted.window_after(first, None, None, day).unwrap();
        assert_eq!(served.opens, at("2026-03-02T22:00:00Z"));
    }

    #[test]
    fn the_deadline_is_the_last_point_and_the_longest_gap() {
        let nightly = nightly();
        let point = at("2026-03-01T22:10:00Z");
        let window = nightly
            .window_after(point, None, Some(point), point)
            .unwrap();
        // From the first start of one night to the last of the next.
        let gap = window.deadline.unwrap().duration_since(point);
        assert!(gap > SignedDuration::from_hours(29) && gap <= SignedDuration::from_hours(30));
    }

    #[test]
    fn a_window_is_found_again_by_its_opening() {
        let nightly = nightly();
        let opens = at("2026-03-01T22:00:00Z");
        let now = at("2026-03-04T00:00:00Z");
        let again = nightly.window_at(opens, None, now).unwrap();
        assert_eq!(
            (again.opens, again.next_opens),
            (opens, Some(at("2026-03-04T22:00:00Z")))
        );
        assert_eq!(
            nightly.window_at(at("2026-03-01T21:00:00Z"), None, now),
            None
        );
    }

    #[test]
    fn what_is_never_due_again_is_over() {
        let once = outlook(r#"{"name":"n","schedules":[{"calendar":"2026-03-01 22:00"}]}"#);
        assert!(!once.is_over(at("2026-03-01T00:00:00Z")));
        assert!(once.is_over(at("2026-03-02T00:00:00Z")));
        let window = once.window_after(
            at("2026-03-02T00:00:00Z"),
            None,
            None,
            at("2026-03-02T00:00:00Z"),
        );
        assert_eq!(window, None);
    }
}
