//! Days since 1970-01-01 and dates of the Gregorian calendar, both ways.
//!
//! Howard Hinnant's `days_from_civil` and `civil_from_days`
//! (<https://howardhinnant.github.io/date_algorithms.html>): years begin in March, so that the leap
//! day is the last one.

/// Days in 400 years, after which the calendar repeats.
const ERA_DAYS: i64 = 146_097;
/// From 0000-03-01 to 1970-01-01.
const TO_EPOCH: i64 = 719_468;

/// The day's number.
pub(super) fn days_from_date(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * ERA_DAYS + day_of_era - TO_EPOCH
}

/// Year, month and day of a day's number.
pub(super) fn date_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + TO_EPOCH;
    let era = days.div_euclid(ERA_DAYS);
    let day_of_era = days.rem_euclid(ERA_DAYS);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// How many days a month has.
pub(super) fn month_days(year: i64, month: i64) -> u32 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// 0 is Monday. 1970-01-01 was a Thursday.
pub(super) fn weekday(days: i64) -> u32 {
    u32::try_from((days + 3).rem_euclid(7)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::{ToSpan as _, civil};

    #[test]
    fn days_are_those_of_jiff() {
        let epoch = civil::date(1970, 1, 1);
        for days in (-800_000_i64..800_000).step_by(13) {
            let date = epoch.checked_add(days.days()).unwrap();
            let (year, month, day) = date_from_days(days);
            assert_eq!(
                (year, month, day),
                (
                    i64::from(date.year()),
                    i64::from(date.month()),
                    i64::from(date.day())
                )
            );
            assert_eq!(days_from_date(year, month, day), days);
            assert_eq!(month_days(year, month), date.days_in_month() as u32);
            assert_eq!(weekday(days), date.weekday().to_monday_zero_offset() as u32);
        }
    }
}
