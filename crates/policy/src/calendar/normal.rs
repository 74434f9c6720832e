//! The normal form, as `systemd-analyze calendar` prints it.

use std::fmt;

use super::{
    Calendar, EVERY_DAY,
    part::{Part, SECOND},
};

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

impl fmt::Display for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.weekdays != EVERY_DAY {
            weekdays(f, self.weekdays)?;
        }
        plain(f, &self.year, 4)?;
        f.write_str("-")?;
        plain(f, &self.month, 2)?;
        f.write_str(if self.from_end { "~" } else { "-" })?;
        plain(f, &self.day, 2)?;
        f.write_str(" ")?;
        plain(f, &self.hour, 2)?;
        f.write_str(":")?;
        plain(f, &self.minute, 2)?;
        f.write_str(":")?;
        seconds(f, &self.second)?;
        match &self.zone {
            Some(zone) => write!(f, " {zone}"),
            None => Ok(()),
        }
    }
}

/// Two days in a row are listed, more are a range.
fn weekdays(f: &mut fmt::Formatter<'_>, bits: u8) -> fmt::Result {
    let has = |day: usize| day < DAYS.len() && bits & (1 << day) != 0;
    let mut day = 0;
    let mut comma = "";
    while day < DAYS.len() {
        if !has(day) {
            day += 1;
            continue;
        }
        let first = day;
        while has(day) {
            day += 1;
        }
        write!(f, "{comma}{}", DAYS[first])?;
        match day - first {
            1 => {}
            2 => write!(f, ",{}", DAYS[day - 1])?,
            _ => write!(f, "..{}", DAYS[day - 1])?,
        }
        comma = ",";
    }
    f.write_str(" ")
}

fn plain(f: &mut fmt::Formatter<'_>, part: &Part, width: usize) -> fmt::Result {
    if part.is_any() {
        return f.write_str("*");
    }
    for (place, value) in part.values().iter().enumerate() {
        let comma = if place > 0 { "," } else { "" };
        write!(f, "{comma}{:0width$}", value.start)?;
        if let Some(stop) = value.stop {
            write!(f, "..{stop:0width$}")?;
        }
        if value.step > 0 && !(value.stop.is_some() && value.step == 1) {
            write!(f, "/{}", value.step)?;
        }
    }
    Ok(())
}

fn seconds(f: &mut fmt::Formatter<'_>, part: &Part) -> fmt::Result {
    if *part == Part::every_second() {
        return f.write_str("*");
    }
    for (place, value) in part.values().iter().enumerate() {
        let comma = if place > 0 { "," } else { "" };
        write!(f, "{comma}{:02}", value.start / SECOND)?;
        fraction(f, value.start)?;
        if let Some(stop) = value.stop {
            write!(f, "..{:02}", stop / SECOND)?;
            fraction(f, stop)?;
        }
        if value.step > 0 && !(value.stop.is_some() && value.step == SECOND) {
            write!(f, "/{}", value.step / SECOND)?;
            fraction(f, value.step)?;
        }
    }
    Ok(())
}

fn fraction(f: &mut fmt::Formatter<'_>, micros: u32) -> fmt::Result {
    match micros % SECOND {
        0 => Ok(()),
        rest => write!(f, ".{rest:06}"),
    }
}
