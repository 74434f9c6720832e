//! Calendar expressions: when something is due, in the syntax of systemd's `OnCalendar`.
//!
//! `Mon..Fri *-*-* 22:00 Europe/Berlin`: a [`Calendar`] is read from text, is written in systemd's
//! normal form, and becomes a [`Timetable`] with a time zone, which tells what comes next. The
//! syntax is that of systemd.time(7); docs/policies.md describes it, and a test compares it with the
//! real `systemd-analyze calendar`.
//!
//! # What differs from systemd
//! - When clocks are set forward, systemd leaves out what falls into the hour that is missing: a
//!   nightly backup is not made that night, and in zones that change at midnight `daily` leaves out
//!   the day. Here the missing times are due together, once, at the moment when the clock jumps. An
//!   expression for every hour of the day has nothing to make up.
//! - When clocks are set back, an hour comes twice. systemd leaves out the second one, or does not,
//!   depending on when it was asked. Here an expression for every hour is due in both; one that names
//!   hours is due in the first.
//!
//!   Both are what cron(8) does.
//! - A zone is a name of the time zone database, in any case; abbreviations of the local zone that
//!   are no such names (`CEST`) are not known. `@SECONDS` takes digits alone.
//! - A text is at most [`MAX_TEXT`] bytes long.
//!
//! # Bounds
//! A text becomes at most as many values as it has bytes. The search for the next moment looks at
//! each month of [`YEARS`] once at most, so that what is never due (`*-02-30`) is found out as
//! quickly as anything else.

mod date;
mod error;
mod normal;
mod parse;
mod part;
mod search;
mod timetable;
mod zone;

use std::{fmt, ops::RangeInclusive, str::FromStr};

use jiff::tz::{TimeZone, TimeZoneDatabase};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use error::{CalendarError, Wrong};
use part::Part;
pub use timetable::{Elapses, Timetable};
pub use zone::{UnknownZone, ZoneName};

/// The longest text that is read, in bytes.
pub const MAX_TEXT: usize = 1024;

/// The years in which something can be due, as in systemd.
pub const YEARS: RangeInclusive<u16> = 1970..=2199;

/// All days of the week.
const EVERY_DAY: u8 = 0b111_1111;

/// A calendar expression.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Calendar {
    /// Monday is bit 0.
    weekdays: u8,
    year: Part,
    month: Part,
    day: Part,
    /// Days are counted from the month's end: 1 is the last one.
    from_end: bool,
    hour: Part,
    minute: Part,
    /// In microseconds.
    second: Part,
    zone: Option<ZoneName>,
}

impl Calendar {
    /// Reads an expression. Whether its zone exists only [`Calendar::timetable`] says.
    ///
    /// # Errors
    /// When the text is none, with the place.
    pub fn parse(text: &str) -> Result<Self, CalendarError> {
        parse::calendar(text)
    }

    /// `*-*-* *:00:00`
    pub(crate) fn hourly() -> Self {
        Self {
            hour: Part::ANY,
            ..Self::daily_at(0)
        }
    }

    /// Each day at a full hour, from 0 to 23.
    pub(crate) fn daily_at(hour: u8) -> Self {
        Self {
            weekdays: EVERY_DAY,
            year: Part::ANY,
            month: Part::ANY,
            day: Part::ANY,
            from_end: false,
            hour: Part::one(u32::from(hour)),
            minute: Part::one(0),
            second: Part::one(0),
            zone: None,
        }
    }

    /// The zone that the expression itself names.
    #[must_use]
    pub fn zone(&self) -> Option<&ZoneName> {
        self.zone.as_ref()
    }

    /// Whether it is due in every hour of the days that it is due on.
    #[must_use]
    pub fn every_hour(&self) -> bool {
        self.hour.bits(0, 23).count_ones() == 24
    }

    /// Whether it is due at most once in each minute.
    #[must_use]
    pub fn at_most_once_a_minute(&self) -> bool {
        self.second.is_one_value()
    }

    /// With the zone that it names, else with `default`. Zones are looked up in `zones`.
    ///
    /// # Errors
    /// When there is no zone of that name.
    pub fn timetable(
        &self,
        default: &TimeZone,
        zones: &TimeZoneDatabase,
    ) -> Result<Timetable, UnknownZone> {
        let zone = match &self.zone {
            Some(name) => name.find(zones)?,
            None => default.clone(),
        };
        Ok(Timetable::new(self, zone))
    }
}

impl FromStr for Calendar {
    type Err = CalendarError;

    fn from_str(text: &str) -> Result<Self, CalendarError> {
        Self::parse(text)
    }
}

impl Serialize for Calendar {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Calendar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl serde::de::Visitor<'_> for Text {
            type Value = Calendar;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a calendar expression, such as `Mon..Fri 22:00`")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Calendar, E> {
                Calendar::parse(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests;
