//! Judging a policy, field by field.

use jiff::{
    SignedDuration, Timestamp,
    tz::{TimeZone, TimeZoneDatabase},
};

use super::{Policy, PolicyError, PolicyProblem};
use crate::{
    calendar::{Calendar, ZoneName},
    length::Length,
};

const MAX_NAME: usize = 63;
const MAX_ENTRIES: usize = 16;
const MINUTE: Length = Length::from_minutes(1);
const MAX_WINDOW: Length = Length::from_hours(7 * 24);
const MAX_BLACKOUT: Length = Length::from_hours(31 * 24);
const MIN_LIMIT: Length = Length::from_secs(10);
const MAX_LIMIT: Length = Length::from_hours(30 * 24);
const MIN_PAUSE: Length = Length::from_secs(1);
const MAX_PAUSE: Length = Length::from_hours(24);
const MAX_TRIES: u32 = 20;
const MAX_AT_ONCE: u32 = 1000;

/// Above any disk and network.
const MAX_MIB_S: u32 = 1 << 20;

/// When so many occasions from now on, and those of so long a time, are covered by blackouts, all are
/// taken to be: longer than any blackout, and over all seasons.
const ALL_COVERED: (usize, SignedDuration) = (32, SignedDuration::from_hours(400 * 24));

impl Policy {
    /// Everything that is wrong with it, in the order of its fields. A schedule or blackout without a
    /// zone is in `default`, zones are looked up in `zones`, and a schedule that is due only before `now`
    /// never is.
    ///
    /// # Errors
    /// All that is wrong, at least one.
    pub fn validate(
        &self,
        now: Timestamp,
        default: &TimeZone,
        zones: &TimeZoneDatabase,
    ) -> Result<(), Vec<PolicyError>> {
        let mut judge = Judge {
            now,
            default,
            zones,
            errors: Vec::new(),
        };
        judge.name(&self.name);
        judge.schedules(self);
        judge.rest(self);
        judge.blackouts(self);
        if judge.errors.is_empty() {
            judge.coverage(self);
        }
        if judge.errors.is_empty() {
            Ok(())
        } else {
            Err(judge.errors)
        }
    }
}

struct Judge<'a> {
    now: Timestamp,
    default: &'a TimeZone,
    zones: &'a TimeZoneDatabase,
    errors: Vec<PolicyError>,
}

impl Judge<'_> {
    fn wrong(&mut self, field: impl Into<String>, wrong: impl Into<PolicyProblem>) {
        self.errors.push(PolicyError {
            field: field.into(),
            wrong: wrong.into(),
        });
    }

    fn name(&mut self, name: &str) {
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let good = name.len() <= MAX_NAME
            && name.starts_with(|first: char| first.is_ascii_alphanumeric())
            && name.bytes().all(letter);
        if !good {
            self.wrong("name", PolicyProblem::Name);
        }
    }

    fn schedules(&mut self, policy: &Policy) {
        self.count("schedules", policy.schedules.len(), 1);
        for (place, schedule) in policy.schedules.iter().enumerate().take(MAX_ENTRIES) {
            let field = format!("schedules[{place}]");
            self.calendar(&field, &schedule.calendar, schedule.zone.as_ref(), self.now);
            self.length(
                format!("{field}.window"),
                schedule.window,
                MINUTE,
                MAX_WINDOW,
            );
        }
    }

    fn blackouts(&mut self, policy: &Policy) {
        self.count("blackouts", policy.blackouts.len(), 0);
        for (place, blackout) in policy.blackouts.iter().enumerate().take(MAX_ENTRIES) {
            let field = format!("blackouts[{place}]");
            // One that is over was right once.
            self.calendar(
                &field,
                &blackout.calendar,
                blackout.zone.as_ref(),
                Timestamp::MIN,
            );
            self.length(
                format!("{field}.lasts"),
                blackout.lasts,
                MINUTE,
                MAX_BLACKOUT,
            );
        }
    }

    fn calendar(
        &mut self,
        field: &str,
        calendar: &Calendar,
        zone: Option<&ZoneName>,
        from: Timestamp,
    ) {
        let field_of = |name: &str| format!("{field}.{name}");
        if !calendar.at_most_once_a_minute() {
            self.wrong(field_of("calendar"), PolicyProblem::TooOften);
        }
        if zone.is_some() && calendar.zone().is_some() {
            self.wrong(field_of("zone"), PolicyProblem::ZoneTwice);
        }
        let found = zone.map_or(Ok(self.default.clone()), |zone| zone.find(self.zones));
        let found = match found {
            Ok(found) => found,
            Err(unknown) => return self.wrong(field_of("zone"), unknown),
        };
        match calendar.timetable(&found, self.zones) {
            Err(unknown) => self.wrong(field_of("calendar"), unknown),
            Ok(timetable) if timetable.next_after(from).is_none() => {
                self.wrong(field_of("calendar"), PolicyProblem::Never);
            }
            Ok(_) => {}
        }
    }

    fn rest(&mut self, policy: &Policy) {
        if let Err(error) = policy.retention.within_span() {
            self.wrong("retention.within", error);
        }
        if policy.consistency.lowest > policy.consistency.wanted {
            self.wrong("consistency.lowest", PolicyProblem::LowestAboveWanted);
        }
        let limits = policy.limits;
        for (name, limit) in [
            ("prepare", limits.prepare),
            ("snapshot", limits.snapshot),
            ("transfer", limits.transfer),
            ("commit", limits.commit),
            ("release", limits.release),
        ] {
            self.length(format!("limits.{name}"), limit, MIN_LIMIT, MAX_LIMIT);
        }
        let retry = policy.retry;
        self.number("retry.tries", retry.tries, MAX_TRIES);
        self.length("retry.first_pause", retry.first_pause, MIN_PAUSE, MAX_PAUSE);
        self.length(
            "retry.longest_pause",
            retry.longest_pause,
            MIN_PAUSE,
            MAX_PAUSE,
        );
        if retry.first_pause > retry.longest_pause {
            self.wrong("retry.first_pause", PolicyProblem::FirstPauseLonger);
        }
        for (name, limit) in [
            ("bandwidth.read_mib_s", policy.bandwidth.read_mib_s),
            ("bandwidth.upload_mib_s", policy.bandwidth.upload_mib_s),
        ] {
            if let Some(limit) = limit {
                self.number(name, limit, MAX_MIB_S);
            }
        }
        let most = policy.concurrency;
        for (name, most) in [
            ("concurrency.host", most.host),
            ("concurrency.vault", most.vault),
            ("concurrency.storage_group", most.storage_group),
        ] {
            self.number(name, most, MAX_AT_ONCE);
        }
    }

    /// Whether anything is left to start in.
    fn coverage(&mut self, policy: &Policy) {
        let Ok(windows) = policy.windows(self.default, self.zones) else {
            return;
        };
        let (few, long) = ALL_COVERED;
        let until = self.now.saturating_add(long).unwrap_or(Timestamp::MAX);
        let mut first = windows
            .after(self.now)
            .enumerate()
            .take_while(|(place, occasion)| *place < few || occasion.due < until);
        if first.all(|(_, occasion)| occasion.windows.is_empty()) {
            self.wrong("blackouts", PolicyProblem::Covered);
        }
    }

    fn count(&mut self, field: &str, found: usize, lowest: usize) {
        let highest = MAX_ENTRIES;
        if !(lowest..=highest).contains(&found) {
            let wrong = PolicyProblem::Count {
                found,
                lowest,
                highest,
            };
            self.wrong(field, wrong);
        }
    }

    fn length(&mut self, field: impl Into<String>, found: Length, lowest: Length, highest: Length) {
        if !(lowest..=highest).contains(&found) {
            let wrong = PolicyProblem::Length {
                found,
                lowest,
                highest,
            };
            self.wrong(field, wrong);
        }
    }

    fn number(&mut self, field: &str, found: u32, highest: u32) {
        let lowest = 1;
        if !(lowest..=highest).contains(&found) {
            let wrong = PolicyProblem::Number {
                found,
                lowest,
                highest,
            };
            self.wrong(field, wrong);
        }
    }
}
