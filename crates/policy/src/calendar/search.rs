//! The next moment of an expression on a clock without a zone.

use super::{
    Calendar, Part, YEARS,
    date::{date_from_days, days_from_date, month_days, weekday},
    part::{SECOND, Value},
};

/// A moment on a local clock: microseconds since its 1970-01-01 00:00.
pub(super) type Local = i64;

const SECOND_MICROS: i64 = SECOND as i64;
pub(super) const DAY_MICROS: i64 = 86_400 * SECOND_MICROS;

/// An expression in a form in which is searched quickly: a bit for each value of a field.
#[derive(Debug, Clone)]
pub(super) struct Search {
    years: Part,
    months: u64,
    days: Days,
    weekdays: u8,
    hours: u64,
    minutes: u64,
    seconds: Part,
}

#[derive(Debug, Clone)]
enum Days {
    /// Bit 1 is the first.
    FromBegin(u64),
    /// Bit 1 is the last; what repeats goes on towards it.
    FromEnd(Vec<Value>),
}

impl Search {
    pub(super) fn new(calendar: &Calendar) -> Self {
        let days = if calendar.from_end {
            Days::FromEnd(calendar.day.values().to_vec())
        } else {
            Days::FromBegin(calendar.day.bits(0, 31))
        };
        Self {
            years: calendar.year.clone(),
            months: calendar.month.bits(0, 12),
            days,
            weekdays: calendar.weekdays,
            hours: calendar.hour.bits(0, 23),
            minutes: calendar.minute.bits(0, 59),
            seconds: calendar.second.clone(),
        }
    }

    pub(super) fn every_hour(&self) -> bool {
        self.hours.count_ones() == 24
    }

    /// The first moment from `from` on.
    pub(super) fn first_from(&self, from: Local) -> Option<Local> {
        let day = from.div_euclid(DAY_MICROS);
        let found = self.day_from(day)?;
        if found == day
            && let Some(time) = self.time_from(from.rem_euclid(DAY_MICROS))
        {
            return Some(day * DAY_MICROS + time);
        }
        let found = if found == day {
            self.day_from(day + 1)?
        } else {
            found
        };
        Some(found * DAY_MICROS + self.time_from(0)?)
    }

    /// The first day from `from` on: each month is looked at once.
    fn day_from(&self, from: i64) -> Option<i64> {
        let (first, last) = (i64::from(*YEARS.start()), u32::from(*YEARS.end()));
        let from = from.max(days_from_date(first, 1, 1));
        let (mut year, mut month, mut day) = date_from_days(from);
        while let Some(wanted) = self
            .years
            .first_from(u32::try_from(year).unwrap_or(u32::MAX), last)
        {
            if i64::from(wanted) > year {
                (year, month, day) = (i64::from(wanted), 1, 1);
            }
            while month <= 12 {
                let open = !0_u64 << day;
                if let Some(found) = first_bit(self.days_of(year, month) & open) {
                    return Some(days_from_date(year, month, i64::from(found)));
                }
                (month, day) = (month + 1, 1);
            }
            (year, month, day) = (year + 1, 1, 1);
        }
        None
    }

    /// The days of a month as bits; bit 1 is the first.
    fn days_of(&self, year: i64, month: i64) -> u64 {
        if self.months & (1 << month) == 0 {
            return 0;
        }
        let length = month_days(year, month);
        let days = match &self.days {
            Days::FromBegin(days) => *days,
            Days::FromEnd(values) => days_from_end(values, length),
        };
        let first = weekday(days_from_date(year, month, 1));
        let mut allowed = 0;
        for day in 1..=length {
            let weekday = (first + day - 1) % 7;
            allowed |= u64::from((self.weekdays >> weekday) & 1) << day;
        }
        days & allowed
    }

    /// The first time of day from `from` on, in microseconds.
    fn time_from(&self, from: i64) -> Option<i64> {
        let (hour, minute) = (
            from / (3600 * SECOND_MICROS),
            from / (60 * SECOND_MICROS) % 60,
        );
        let second = u32::try_from(from % (60 * SECOND_MICROS)).ok()?;
        let at = |hour: i64, minute: i64, second: u32| {
            (hour * 3600 + minute * 60) * SECOND_MICROS + i64::from(second)
        };
        let highest = 60 * SECOND - 1;
        if self.hours & (1 << hour) != 0 {
            if self.minutes & (1 << minute) != 0
                && let Some(second) = self.seconds.first_from(second, highest)
            {
                return Some(at(hour, minute, second));
            }
            if let Some(minute) = first_bit(self.minutes & (!0 << (minute + 1))) {
                let second = self.seconds.first_from(0, highest)?;
                return Some(at(hour, i64::from(minute), second));
            }
        }
        let hour = first_bit(self.hours & (!0 << (hour + 1)))?;
        let minute = first_bit(self.minutes)?;
        let second = self.seconds.first_from(0, highest)?;
        Some(at(i64::from(hour), i64::from(minute), second))
    }
}

fn first_bit(bits: u64) -> Option<u32> {
    (bits != 0).then(|| bits.trailing_zeros())
}

/// `5` is the fifth last day; `3..5` lies between two of them; `5/2` goes on from it to the end of
/// the month.
fn days_from_end(values: &[Value], length: u32) -> u64 {
    let day = |from_end: u32| length + 1 - from_end;
    let mut bits = 0;
    for value in values {
        let (first, last) = match value.stop {
            Some(stop) => (day(stop), day(value.start)),
            None if value.step > 0 => (day(value.start), length),
            None => (day(value.start), day(value.start)),
        };
        let step = usize::try_from(value.step.max(1)).unwrap_or(1);
        for day in (first..=last).step_by(step) {
            bits |= 1 << day;
        }
    }
    bits
}
