//! From text.
//!
//! ```text
//! calendar = ( shorthand | [ weekdays ] [ date ] [ time ] | [ weekdays ] "@" seconds ) [ " " zone ]
//! weekdays = day { ( "," | ".." | "-" ) day } [ "," ]
//! date     = [ list "-" ] list ( "-" | "~" ) list
//! time     = list ":" list [ ":" list ]
//! list     = "*" | value { "," value }
//! value    = number [ ".." number ] [ "/" number ]
//! ```
//! One space stands before the zone, one or more between the other parts.

use super::{
    Calendar, EVERY_DAY, MAX_TEXT, Part, ZoneName,
    date::date_from_days,
    error::{CalendarError, Wrong},
    part::{Field, MAX_VALUES, SECOND, Value},
};

/// In the order of the week, long form and short.
const WEEKDAYS: [(&str, &str); 7] = [
    ("monday", "mon"),
    ("tuesday", "tue"),
    ("wednesday", "wed"),
    ("thursday", "thu"),
    ("friday", "fri"),
    ("saturday", "sat"),
    ("sunday", "sun"),
];

/// More days than any year that can be written has since 1970.
const MAX_DAYS: i64 = 1 << 24;

type Result<T> = std::result::Result<T, CalendarError>;

pub(super) fn calendar(text: &str) -> Result<Calendar> {
    if text.len() > MAX_TEXT {
        return Err(CalendarError::new(MAX_TEXT, Wrong::TooLong(MAX_TEXT)));
    }
    let (text, zone) = split_zone(text)?;
    let mut calendar = match shorthand(text) {
        Some(calendar) => calendar,
        None => Cursor { text, at: 0 }.calendar()?,
    };
    if calendar.zone.is_some() && zone.as_ref().is_some_and(|zone| *zone != ZoneName::utc()) {
        return Err(CalendarError::new(text.len() + 1, Wrong::ZoneOfSeconds));
    }
    calendar.zone = calendar.zone.or(zone);
    Ok(calendar)
}

/// The last word is a zone when it begins with a letter; only weekdays do as well, and those come
/// first or not at all.
fn split_zone(text: &str) -> Result<(&str, Option<ZoneName>)> {
    let Some((rest, word)) = text.rsplit_once(' ') else {
        return Ok((text, None));
    };
    if !word.starts_with(|first: char| first.is_ascii_alphabetic()) {
        return Ok((text, None));
    }
    let no_zone = || CalendarError::new(rest.len() + 1, Wrong::NoZoneName);
    let days = word.get(..3).unwrap_or(word);
    if WEEKDAYS.iter().any(|(long, short)| {
        word.eq_ignore_ascii_case(long) || days.eq_ignore_ascii_case(short) && word.len() == 3
    }) {
        return Err(no_zone());
    }
    let zone = word.parse().map_err(|_| no_zone())?;
    Ok((rest, Some(zone)))
}

/// The words that stand for an expression.
fn shorthand(word: &str) -> Option<Calendar> {
    let midnight = Calendar::daily_at(0);
    let first_of = |month: Part| Calendar {
        month,
        day: Part::one(1),
        ..midnight.clone()
    };
    Some(match word.to_ascii_lowercase().as_str() {
        "minutely" => Calendar {
            hour: Part::ANY,
            minute: Part::ANY,
            ..midnight
        },
        "hourly" => Calendar::hourly(),
        "daily" => midnight,
        "weekly" => Calendar {
            weekdays: 1,
            ..midnight
        },
        "monthly" => first_of(Part::ANY),
        "quarterly" => first_of(Part::of([1, 4, 7, 10])),
        "semiannually" | "semi-annually" | "biannually" | "bi-annually" => {
            first_of(Part::of([1, 7]))
        }
        // The last one is a slip that systemd goes on taking.
        "yearly" | "annually" | "anually" => first_of(Part::one(1)),
        _ => return None,
    })
}

/// The values of a list as they were written, each with its place. `None` is `*`.
type List = Option<Vec<(Value, usize)>>;

fn part(field: Field, list: List) -> Result<Part> {
    list.map_or(Ok(Part::ANY), |values| Part::new(field, &values))
}

/// Month or year, then day.
#[derive(Default)]
struct Date {
    year: List,
    month: List,
    day: List,
    from_end: bool,
}

struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl Cursor<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.rest().bytes().next()
    }

    fn take(&mut self, wanted: &str) -> bool {
        let there = self.rest().starts_with(wanted);
        if there {
            self.at += wanted.len();
        }
        there
    }

    fn spaces(&mut self) {
        while self.take(" ") {}
    }

    fn expected<T>(&self, what: &'static str) -> Result<T> {
        Err(CalendarError::expected(self.at, what))
    }

    fn calendar(mut self) -> Result<Calendar> {
        if self.text.is_empty() {
            return self.expected("a calendar expression");
        }
        let weekdays = self.weekdays()?;
        if self.take("@") {
            return self.moment(weekdays);
        }
        let date = self.date()?;
        let (hour, minute, second) = self.time()?;
        if self.peek().is_some() {
            return self.expected("the end of the expression");
        }
        // Whichever day from the end means every day.
        let from_end = date.from_end && date.day.is_some();
        let day = if from_end {
            Field::DAY_FROM_END
        } else {
            Field::DAY
        };
        Ok(Calendar {
            weekdays,
            year: part(Field::YEAR, date.year.map(with_century))?,
            month: part(Field::MONTH, date.month)?,
            day: part(day, date.day)?,
            from_end,
            hour,
            minute,
            second,
            zone: None,
        })
    }

    /// Nothing when the text does not begin with a weekday.
    fn weekdays(&mut self) -> Result<u8> {
        let mut bits = 0;
        let mut range: Option<usize> = None;
        while let Some((day, length)) = self.weekday() {
            if range.is_some_and(|first| first > day) {
                return Err(CalendarError::new(self.at, Wrong::Backwards));
            }
            for day in range.unwrap_or(day)..=day {
                bits |= 1 << day;
            }
            self.at += length;
            let was_range = range.take().is_some();
            if self.take("..") || self.take("-") {
                if was_range {
                    return self.expected("`,` or a space after a range of weekdays");
                }
                range = Some(day);
            } else if self.take(",") {
                // A comma may end the list.
                if !matches!(self.peek(), None | Some(b' ')) {
                    if self.weekday().is_none() {
                        return self.expected("a weekday");
                    }
                    continue;
                }
            } else if !matches!(self.peek(), None | Some(b' ')) {
                return self.expected("`,`, `..` or a space after a weekday");
            }
            if range.is_none() {
                self.spaces();
                return Ok(bits);
            }
        }
        if range.is_some() {
            return self.expected("a weekday");
        }
        Ok(EVERY_DAY)
    }

    /// The weekday that stands here, and how long its name is.
    fn weekday(&self) -> Option<(usize, usize)> {
        let begins = |name: &str| {
            let head = self.rest().get(..name.len());
            head.is_some_and(|head| head.eq_ignore_ascii_case(name))
        };
        WEEKDAYS
            .iter()
            .enumerate()
            .find_map(|(day, (long, short))| {
                let name = [long, short].into_iter().find(|name| begins(name))?;
                Some((day, name.len()))
            })
    }

    /// Seconds since 1970.
    fn moment(mut self, weekdays: u8) -> Result<Calendar> {
        let start = self.at;
        let seconds = self.number()?;
        let seconds = i64::try_from(seconds)
            .ok()
            .filter(|seconds| seconds / 86_400 < MAX_DAYS)
            .ok_or_else(|| CalendarError::new(start, Wrong::TooLarge))?;
        if self.peek().is_some() {
            return self.expected("the end of the expression");
        }
        let (year, month, day) = date_from_days(seconds / 86_400);
        let of_day = seconds % 86_400;
        let one = |field: Field, value: i64| {
            let value = u32::try_from(value).unwrap_or(u32::MAX);
            Part::new(field, &[(Value::one(value), start)])
        };
        Ok(Calendar {
            weekdays,
            year: one(Field::YEAR, year)?,
            month: one(Field::MONTH, month)?,
            day: one(Field::DAY, day)?,
            from_end: false,
            hour: one(Field::HOUR, of_day / 3600)?,
            minute: one(Field::MINUTE, of_day / 60 % 60)?,
            second: one(Field::SECOND, of_day % 60 * i64::from(SECOND))?,
            zone: Some(ZoneName::utc()),
        })
    }

    /// Nothing when what stands here is a time.
    fn date(&mut self) -> Result<Date> {
        let start = self.at;
        if self.peek().is_none() {
            return Ok(Date::default());
        }
        let first = self.list(false)?;
        if matches!(self.peek(), None | Some(b':')) {
            self.at = start;
            return Ok(Date::default());
        }
        let from_end = self.date_separator()?;
        let second = self.list(false)?;
        if matches!(self.peek(), None | Some(b' ')) {
            self.spaces();
            return Ok(Date {
                year: None,
                month: first,
                day: second,
                from_end,
            });
        }
        if from_end {
            return self.expected("a space or the end after the days from the end of the month");
        }
        let from_end = self.date_separator()?;
        let third = self.list(false)?;
        if !matches!(self.peek(), None | Some(b' ')) {
            return self.expected("a space or the end after the date");
        }
        self.spaces();
        Ok(Date {
            year: first,
            month: second,
            day: third,
            from_end,
        })
    }

    /// Whether days are counted from the end of the month.
    fn date_separator(&mut self) -> Result<bool> {
        if self.take("~") {
            Ok(true)
        } else if self.take("-") {
            Ok(false)
        } else {
            self.expected("`-`, `~` or `:`")
        }
    }

    /// Midnight when nothing stands here.
    fn time(&mut self) -> Result<(Part, Part, Part)> {
        if self.peek().is_none() {
            return Ok((Part::one(0), Part::one(0), Part::one(0)));
        }
        let hour = part(Field::HOUR, self.list(false)?)?;
        if !self.take(":") {
            return self.expected("`:`");
        }
        let minute = part(Field::MINUTE, self.list(false)?)?;
        if self.peek().is_none() {
            return Ok((hour, minute, Part::one(0)));
        }
        if !self.take(":") {
            return self.expected("`:` or the end");
        }
        let second = match self.list(true)? {
            None => Part::every_second(),
            seconds => part(Field::SECOND, seconds)?,
        };
        Ok((hour, minute, second))
    }

    /// `seconds`: values have fractions and are in microseconds.
    fn list(&mut self, seconds: bool) -> Result<List> {
        if self.take("*") {
            return Ok(None);
        }
        let mut values = Vec::new();
        loop {
            if values.len() == MAX_VALUES {
                return Err(CalendarError::new(
                    self.at,
                    Wrong::TooManyValues(MAX_VALUES),
                ));
            }
            let at = self.at;
            values.push((self.value(seconds)?, at));
            if !self.take(",") {
                return Ok(Some(values));
            }
        }
    }

    fn value(&mut self, seconds: bool) -> Result<Value> {
        let at = self.at;
        let mut value = Value::one(self.decimal(seconds)?);
        if self.take("..") {
            value.stop = Some(self.decimal(seconds)?);
            value.step = if seconds { SECOND } else { 1 };
        }
        if self.take("/") {
            let at = self.at;
            value.step = self.decimal(seconds)?;
            if value.step == 0 {
                return Err(CalendarError::new(at, Wrong::NoStep));
            }
        } else if let Some(stop) = value.stop
            && seconds
            && stop.abs_diff(value.start) < SECOND
        {
            // As systemd has it, which takes `5..5` in every other field.
            return Err(CalendarError::new(at, Wrong::TooShort));
        }
        match self.peek() {
            None | Some(b' ' | b',' | b'-' | b'~' | b':') => Ok(value),
            _ => self.expected("`,`, `..`, `/` or the end of the field"),
        }
    }

    fn number(&mut self) -> Result<u64> {
        let digits = self.rest().bytes().take_while(u8::is_ascii_digit).count();
        if digits == 0 {
            return self.expected("a number");
        }
        let number = self.rest()[..digits].parse();
        let number = number.map_err(|_| CalendarError::new(self.at, Wrong::TooLarge))?;
        self.at += digits;
        Ok(number)
    }

    /// Fractions are rounded to microseconds, half of one up, as systemd does it.
    fn decimal(&mut self, seconds: bool) -> Result<u32> {
        let at = self.at;
        let number = self.number()?;
        let too_large = || CalendarError::new(at, Wrong::TooLarge);
        let small = u32::try_from(number).map_err(|_| too_large())?;
        if !seconds {
            return Ok(small);
        }
        let mut micros = number * u64::from(SECOND);
        if self.peek() == Some(b'.') && !self.rest().starts_with("..") {
            self.at += 1;
            let digits = self.rest().bytes().take_while(u8::is_ascii_digit).count();
            if digits == 0 {
                return self.expected("a digit");
            }
            let fraction = &self.rest().as_bytes()[..digits];
            let digit = |place: usize| u64::from(fraction.get(place).map_or(0, |byte| byte - b'0'));
            micros += (0..6).fold(0, |sum, place| sum * 10 + digit(place));
            micros += u64::from(digit(6) >= 5);
            self.at += digits;
        }
        u32::try_from(micros).map_err(|_| too_large())
    }
}

/// 12 is 2012, 89 is 1989.
fn with_century(mut values: Vec<(Value, usize)>) -> Vec<(Value, usize)> {
    let full = |year: u32| match year {
        0..70 => year + 2000,
        70..100 => year + 1900,
        _ => year,
    };
    for (value, _) in &mut values {
        value.start = full(value.start);
        value.stop = value.stop.map(full);
    }
    values
}
