//! Tables. What random expressions do is in `tests/calendar.rs`.

use jiff::{
    Timestamp,
    tz::{self, TimeZone},
};

use super::*;

fn read(text: &str) -> Calendar {
    Calendar::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The examples of systemd.time(7), and what its manual does not tell.
#[test]
fn the_normal_form() {
    for (text, normal) in [
        (
            "Sat,Thu,Mon..Wed,Sat..Sun",
            "Mon..Thu,Sat,Sun *-*-* 00:00:00",
        ),
        ("Mon,Sun 12-*-* 2,1:23", "Mon,Sun 2012-*-* 01,02:23:00"),
        ("Wed *-1", "Wed *-*-01 00:00:00"),
        ("Wed..Wed,Wed *-1", "Wed *-*-01 00:00:00"),
        ("Wed, 17:48", "Wed *-*-* 17:48:00"),
        (
            "Wed..Sat,Tue 12-10-15 1:2:3",
            "Tue..Sat 2012-10-15 01:02:03",
        ),
        ("*-*-7 0:0:0", "*-*-07 00:00:00"),
        ("10-15", "*-10-15 00:00:00"),
        ("monday *-12-* 17:00", "Mon *-12-* 17:00:00"),
        ("Mon,Fri *-*-3,1,2 *:30:45", "Mon,Fri *-*-01,02,03 *:30:45"),
        ("12,14,13,12:20,10,30", "*-*-* 12,13,14:10,20,30:00"),
        ("12..14:10,20,30", "*-*-* 12..14:10,20,30:00"),
        ("mon,fri *-1/2-1,3 *:30:45", "Mon,Fri *-01/2-01,03 *:30:45"),
        ("03-05 08:05:40", "*-03-05 08:05:40"),
        ("05:40", "*-*-* 05:40:00"),
        ("Sat,Sun 12-05 08:05:40", "Sat,Sun *-12-05 08:05:40"),
        ("2003-03-05 05:40", "2003-03-05 05:40:00"),
        (
            "05:40:23.4200004/3.1700005",
            "*-*-* 05:40:23.420000/3.170001",
        ),
        ("2003-02..04-05", "2003-02..04-05 00:00:00"),
        ("2003-03-05 05:40 UTC", "2003-03-05 05:40:00 UTC"),
        (
            "weekly Pacific/Auckland",
            "Mon *-*-* 00:00:00 Pacific/Auckland",
        ),
        ("*:2/3", "*-*-* *:02/3:00"),
        ("minutely", "*-*-* *:*:00"),
        ("HOURLY", "*-*-* *:00:00"),
        ("daily utc", "*-*-* 00:00:00 UTC"),
        ("monthly", "*-*-01 00:00:00"),
        ("quarterly", "*-01,04,07,10-01 00:00:00"),
        ("semi-annually", "*-01,07-01 00:00:00"),
        ("yearly", "*-01-01 00:00:00"),
        ("*-02~03", "*-02~03 00:00:00"),
        ("Mon *-05~07/1", "Mon *-05~07/1 00:00:00"),
        ("*-*~*", "*-*-* 00:00:00"),
        ("*~1", "*-*~01 00:00:00"),
        ("Mon-Fri", "Mon..Fri *-*-* 00:00:00"),
        ("Mon..Sun", "*-*-* 00:00:00"),
        ("Tue,Wed, 1:1", "Tue,Wed *-*-* 01:01:00"),
        ("5..20/30:00", "*-*-* 05:00:00"),
        ("5..8/2:00", "*-*-* 05..07/2:00:00"),
        ("0:0:5..5.5/0.9", "*-*-* 00:00:05"),
        ("0..23:00", "*-*-* 00..23:00:00"),
        ("*:*:*", "*-*-* *:*:*"),
        ("00:00:0/1", "*-*-* 00:00:*"),
        (
            "00:00:0.5..3.5/0.5",
            "*-*-* 00:00:00.500000..03.500000/0.500000",
        ),
        ("00:00:00.9999999", "*-*-* 00:00:01"),
        ("99..05-1-1", "1999..2005-01-01 00:00:00"),
        ("@7000000000", "2191-10-27 12:26:40 UTC"),
        ("@1700000000", "2023-11-14 22:13:20 UTC"),
        ("0:0:7/3,0/1", "*-*-* 00:00:*"),
        ("0:0:7.5,0/1", "*-*-* 00:00:00/1,07.500000"),
        ("Mon @0 utc", "Mon 1970-01-01 00:00:00 UTC"),
        ("*-*-*  ", "*-*-* 00:00:00"),
    ] {
        assert_eq!(read(text).to_string(), normal, "{text}");
        assert_eq!(read(normal).to_string(), normal);
        assert_eq!(read(normal), read(text), "{text}");
    }
}

#[test]
fn what_is_wrong_and_where() {
    for (text, said) in [
        ("", "at character 1: a calendar expression is expected"),
        ("nightly", "at character 1: a number is expected"),
        ("10", "at character 3: `:` is expected"),
        ("24:00", "at character 1: an hour is from 0 to 23"),
        ("1,2,60..61:00", "at character 5: an hour is from 0 to 23"),
        ("0:0:60", "at character 5: a second is from 0 to 59"),
        ("0:0:59.9999999", "at character 5: a second is from 0 to 59"),
        ("0:0:0.", "at character 7: a digit is expected"),
        ("5..3:00", "at character 1: the range ends before it begins"),
        (
            "0:0:5..5.9",
            "at character 5: a range of less than a second says its step, such as 1..1.5/0.1",
        ),
        ("5/0:00", "at character 3: a repetition is more than 0"),
        (
            "1/23:00",
            "at character 1: the first repetition lies outside of the field (an hour)",
        ),
        ("2200-1-1", "at character 1: a year is from 1970 to 2199"),
        (
            "*-*~29",
            "at character 5: a day from the end of the month is from 1 to 28",
        ),
        (
            "*~1-1",
            "at character 4: a space or the end after the days from the end of the month is expected",
        ),
        (
            "Sun..Mon",
            "at character 6: the range ends before it begins",
        ),
        (
            "Mon..Tue..Wed",
            "at character 11: `,` or a space after a range of weekdays is expected",
        ),
        ("Mon.. 1:00", "at character 6: a weekday is expected"),
        ("Mon,,Tue", "at character 5: a weekday is expected"),
        (
            "Monda",
            "at character 4: `,`, `..` or a space after a weekday is expected",
        ),
        ("Mon, Tue", "at character 6: this is no name of a time zone"),
        ("1:00 ../UTC", "at character 5: `:` or the end is expected"),
        (
            "1:00 a//b",
            "at character 6: this is no name of a time zone",
        ),
        ("1:00 ", "at character 5: `:` or the end is expected"),
        ("99999999999:00", "at character 1: the number is too large"),
        ("@9999999999", "at character 2: a year is from 1970 to 2199"),
        (
            "@0 Europe/Berlin",
            "at character 4: seconds since 1970 are in UTC, in no other zone",
        ),
        ("*/2:00", "at character 2: `-`, `~` or `:` is expected"),
        (
            "1:00é",
            "at character 5: `,`, `..`, `/` or the end of the field is expected",
        ),
    ] {
        let error = Calendar::parse(text).expect_err(text);
        assert_eq!(error.to_string(), said, "{text}");
    }
    let long = format!("{}:00", "1,".repeat(MAX_TEXT));
    assert_eq!(
        Calendar::parse(&long).unwrap_err().wrong,
        Wrong::TooLong(MAX_TEXT)
    );
    let many = format!("{}1:00", "1,".repeat(241));
    assert_eq!(
        Calendar::parse(&many).unwrap_err().wrong,
        Wrong::TooManyValues(241)
    );
    assert!(Calendar::parse(&many[2..]).is_ok());
}

#[test]
fn a_zone_that_does_not_exist_is_told_when_it_is_looked_up() {
    let calendar = read("daily Europe/Atlantis");
    let error = calendar.timetable(&TimeZone::UTC, tz::db()).unwrap_err();
    assert_eq!(error.to_string(), "there is no time zone `Europe/Atlantis`");
}

/// The moments after `after`, as the zone's clock shows them.
fn next(text: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
    let zone = TimeZone::get(zone).unwrap();
    let after: Timestamp = after.parse().unwrap();
    let timetable = read(text).timetable(&zone, tz::db()).unwrap();
    timetable
        .elapses_after(after)
        .take(count)
        .map(|at| at.to_zoned(timetable.zone().clone()))
        .map(|at| at.strftime("%m-%d %H:%M:%S%.f %:z").to_string())
        .collect()
}

#[test]
fn clocks_set_forward() {
    // A night's backup is made when the hour that is missing would have begun.
    assert_eq!(
        next("02:30", "Europe/Berlin", "2026-03-27T12:00:00Z", 3),
        [
            "03-28 02:30:00 +01:00",
            "03-29 03:00:00 +02:00",
            "03-30 02:30:00 +02:00"
        ]
    );
    // Several missing times are due once, and with what is due then anyway.
    assert_eq!(
        next("2,3:0/20", "Europe/Berlin", "2026-03-29T00:00:00Z", 4),
        [
            "03-29 03:00:00 +02:00",
            "03-29 03:20:00 +02:00",
            "03-29 03:40:00 +02:00",
            "03-30 02:00:00 +02:00"
        ]
    );
    // Every hour: nothing is missing.
    assert_eq!(
        next("*:30", "Europe/Berlin", "2026-03-29T00:00:00Z", 2),
        ["03-29 01:30:00 +01:00", "03-29 03:30:00 +02:00"]
    );
    // A day that has no midnight.
    assert_eq!(
        next("daily", "Africa/Cairo", "2026-04-22T12:00:00Z", 3),
        [
            "04-23 00:00:00 +02:00",
            "04-24 01:00:00 +03:00",
            "04-25 00:00:00 +03:00"
        ]
    );
    // Half an hour.
    assert_eq!(
        next("02:10", "Australia/Lord_Howe", "2026-10-03T12:00:00Z", 2),
        ["10-04 02:30:00 +11:00", "10-05 02:10:00 +11:00"]
    );
    // A whole day, once in history.
    assert_eq!(
        next("Fri 03:00", "Pacific/Apia", "2011-12-24T00:00:00Z", 2),
        ["12-31 00:00:00 +14:00", "01-06 03:00:00 +14:00"]
    );
}

#[test]
fn clocks_set_back() {
    assert_eq!(
        next("02:30", "Europe/Berlin", "2026-10-24T12:00:00Z", 2),
        ["10-25 02:30:00 +02:00", "10-26 02:30:00 +01:00"]
    );
    // Also when asked in the hour that comes again.
    assert_eq!(
        next("02:30", "Europe/Berlin", "2026-10-25T01:10:00Z", 1),
        ["10-26 02:30:00 +01:00"]
    );
    assert_eq!(
        next("hourly", "Europe/Berlin", "2026-10-24T23:30:00Z", 3),
        [
            "10-25 02:00:00 +02:00",
            "10-25 02:00:00 +01:00",
            "10-25 03:00:00 +01:00"
        ]
    );
    assert_eq!(
        next("*:0/40", "Australia/Lord_Howe", "2026-04-04T14:30:00Z", 3),
        [
            "04-05 01:40:00 +11:00",
            "04-05 01:40:00 +10:30",
            "04-05 02:00:00 +10:30"
        ]
    );
}

#[test]
fn what_is_never_due_is_found_out() {
    let never = [
        "*-02-30",
        "*-02-30 *:*:0/0.000001",
        "Mon 2026-11-28",
        "1970-01-01",
        "Sun *-02-30..31/1 Europe/Berlin",
        "2026-03-29 02:30 America/St_Johns",
    ];
    for text in never {
        assert!(
            next(text, "UTC", "2026-11-28T00:00:00Z", 1).is_empty(),
            "{text}"
        );
    }
    // The last ones of the calendar.
    assert_eq!(
        next(
            "2199-12-31 23:59:59.999999",
            "UTC",
            "2026-11-28T00:00:00Z",
            9
        ),
        ["12-31 23:59:59.999999 +00:00"]
    );
}

#[test]
fn parts_of_seconds_and_what_comes_before_1970() {
    assert_eq!(
        next("0:0:0.7/0.9", "UTC", "2026-11-27T23:59:59.9999999Z", 3),
        [
            "11-28 00:00:00.7 +00:00",
            "11-28 00:00:01.6 +00:00",
            "11-28 00:00:02.5 +00:00"
        ]
    );
    assert_eq!(
        next("*:*:*", "UTC", "1969-12-31T23:59:59.9999995Z", 1),
        ["01-01 00:00:00 +00:00"]
    );
    assert_eq!(
        next("*:*:*", "UTC", "1970-01-01T00:00:00.0000005Z", 1),
        ["01-01 00:00:01 +00:00"]
    );
    assert_eq!(
        next("monthly", "UTC", "-000999-01-01T00:00:00Z", 1).len(),
        1
    );
}

#[test]
fn days_from_the_end_of_the_month() {
    let days = |text: &str, after: &str, count| {
        let days = next(text, "UTC", after, count);
        days.iter()
            .map(|day| day[..5].to_owned())
            .collect::<Vec<_>>()
    };
    let from = "2026-11-28T05:00:00Z";
    assert_eq!(days("*-*~1..3", from, 3), ["11-29", "11-30", "12-29"]);
    assert_eq!(
        days("*-*~1..7/3", from, 4),
        ["11-30", "12-25", "12-28", "12-31"]
    );
    assert_eq!(
        days("*-*~7/3", from, 4),
        ["11-30", "12-25", "12-28", "12-31"]
    );
    assert_eq!(days("*-02~28", from, 2), ["02-01", "02-02"]);
    assert_eq!(days("Mon *-05~07/1", from, 2), ["05-31", "05-29"]);
}

#[test]
fn as_a_value_it_is_its_normal_form() {
    let calendar: Calendar = serde_json::from_str("\"Mon-Fri 22:00 utc\"").unwrap();
    assert_eq!(
        serde_json::to_string(&calendar).unwrap(),
        "\"Mon..Fri *-*-* 22:00:00 UTC\""
    );
    let error = serde_json::from_str::<Calendar>("\"Mon 25:00\"").unwrap_err();
    assert!(
        error.to_string().starts_with("at character 5: an hour"),
        "{error}"
    );
}
