//! What holds for every calendar expression, from an evaluation of its normal form that knows
//! nothing of how the search works: each second of some days is asked for.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

mod expressions;

use expressions::{Random, ZONES, expression, moment, whole_seconds};
use jiff::{SignedDuration, Timestamp, civil::DateTime, tz, tz::TimeZone};
use proptest::prelude::*;
use tresor_policy::calendar::{Calendar, Timetable};

const SECOND: SignedDuration = SignedDuration::from_secs(1);

/// An expression read field by field, from its normal form.
struct Plain {
    weekdays: Option<Vec<String>>,
    year: String,
    month: String,
    day: String,
    from_end: bool,
    time: Vec<String>,
}

impl Plain {
    fn new(calendar: &Calendar) -> Self {
        let text = calendar.to_string();
        let mut words: Vec<&str> = text.split(' ').collect();
        let weekdays = words[0]
            .starts_with(|first: char| first.is_alphabetic())
            .then(|| names(words.remove(0)));
        let from_end = words[0].contains('~');
        let date: Vec<&str> = words[0].split(['-', '~']).collect();
        Self {
            weekdays,
            year: date[0].to_owned(),
            month: date[1].to_owned(),
            day: date[2].to_owned(),
            from_end,
            time: words[1].split(':').map(str::to_owned).collect(),
        }
    }

    fn has(&self, at: DateTime) -> bool {
        let number = |part: i8| i64::from(part);
        let length = number(at.days_in_month());
        let day = if self.from_end {
            has_from_end(&self.day, number(at.day()), length)
        } else {
            has(&self.day, number(at.day()))
        };
        let weekday = format!("{:?}", at.weekday());
        let weekdays = self.weekdays.as_ref();
        day && has(&self.year, i64::from(at.year()))
            && has(&self.month, number(at.month()))
            && has(&self.time[0], number(at.hour()))
            && has(&self.time[1], number(at.minute()))
            && has(&self.time[2], number(at.second()))
            && weekdays.is_none_or(|days| days.iter().any(|name| weekday.starts_with(name)))
    }
}

/// The days of `Mon..Wed,Fri`.
fn names(text: &str) -> Vec<String> {
    const ALL: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    let place = |name: &str| ALL.iter().position(|day| *day == name).unwrap();
    let mut days = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once("..").unwrap_or((part, part));
        days.extend(
            ALL[place(first)..=place(last)]
                .iter()
                .map(ToString::to_string),
        );
    }
    days
}

/// First, last and step of `5`, `5..9`, `5/2` and `5..9/2`.
fn numbers(value: &str, end: i64) -> (i64, i64, i64) {
    let number = |text: &str| text.parse::<i64>().unwrap();
    let (range, step) = match value.split_once('/') {
        Some((range, step)) => (range, Some(number(step))),
        None => (value, None),
    };
    match (range.split_once(".."), step) {
        (Some((first, last)), step) => (number(first), number(last), step.unwrap_or(1)),
        (None, Some(step)) => (number(range), end, step),
        (None, None) => (number(range), number(range), 1),
    }
}

fn has(list: &str, wanted: i64) -> bool {
    list == "*"
        || list.split(',').any(|value| {
            let (first, last, step) = numbers(value, i64::MAX);
            (first..=last).contains(&wanted) && (wanted - first) % step == 0
        })
}

fn has_from_end(list: &str, day: i64, length: i64) -> bool {
    list.split(',').any(|value| {
        let (one, other, step) = numbers(value, 1);
        let (first, last) = (length + 1 - one.max(other), length + 1 - one.min(other));
        (first..=last).contains(&day) && (day - first) % step == 0
    })
}

/// The moments in (`after`, `until`], second by second, by the words of the module.
fn all(
    plain: &Plain,
    every_hour: bool,
    zone: &TimeZone,
    after: Timestamp,
    until: Timestamp,
) -> Vec<Timestamp> {
    let mut found = Vec::new();
    // The latest that the clock has shown, from a day before on.
    let mut at = after - SignedDuration::from_hours(26);
    let mut latest = zone.to_datetime(at);
    while at < until {
        at += SECOND;
        let shown = zone.to_datetime(at);
        let again = shown <= latest;
        let due = plain.has(shown) && (every_hour || !again);
        let mut missing = latest + SECOND;
        let mut made_up = false;
        while missing < shown {
            made_up |= !every_hour && plain.has(missing);
            missing += SECOND;
        }
        latest = latest.max(shown);
        if at > after && (due || made_up) {
            found.push(at);
        }
    }
    found
}

fn timetable(calendar: &Calendar, zone: &TimeZone) -> Timetable {
    calendar.timetable(zone, tz::db()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn due_is_what_each_second_says(seed in any::<u64>()) {
        let random = &mut Random::new(seed);
        let zone = TimeZone::get(random.pick(&ZONES)).unwrap();
        let text = whole_seconds(random);
        let Ok(calendar) = Calendar::parse(&text) else { return Ok(()) };
        let zone = if calendar.zone().is_some() { TimeZone::UTC } else { zone };
        let after = moment(random, &zone);
        let until = after + SignedDuration::from_hours(8);
        let wanted = all(&Plain::new(&calendar), calendar.every_hour(), &zone, after, until);
        let timetable = timetable(&calendar, &zone);
        let found: Vec<_> = timetable.elapses_after(after).take_while(|at| *at <= until).collect();
        prop_assert_eq!(found, wanted, "{} in {:?} from {}", text, zone.iana_name(), after);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_normal_form_is_its_own(seed in any::<u64>()) {
        let text = expression(&mut Random::new(seed), None);
        if let Ok(calendar) = Calendar::parse(&text) {
            let normal = calendar.to_string();
            prop_assert_eq!(&Calendar::parse(&normal).unwrap(), &calendar, "{} is {}", text, normal);
            prop_assert_eq!(Calendar::parse(&normal).unwrap().to_string(), normal);
        }
    }

    /// One after the other, or each by a question of its own: the same moments, in order.
    #[test]
    fn moments_rise_and_no_question_misses_one(seed in any::<u64>()) {
        let random = &mut Random::new(seed);
        let zone = TimeZone::get(random.pick(&ZONES)).unwrap();
        let text = expression(random, None);
        let Ok(calendar) = Calendar::parse(&text) else { return Ok(()) };
        let timetable = timetable(&calendar, &zone);
        let mut last = moment(random, &zone);
        for at in timetable.elapses_after(last).take(50) {
            prop_assert!(at > last);
            prop_assert_eq!(timetable.next_after(last), Some(at));
            let between = last.as_microsecond() + (at.as_microsecond() - last.as_microsecond()) / 2;
            let between = Timestamp::from_microsecond(between).unwrap();
            prop_assert_eq!(timetable.next_after(between), Some(at));
            last = at;
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,40}|[-0-9*,./~: @a-zA-Z]{0,40}") {
        match Calendar::parse(&text) {
            Ok(calendar) => {
                let timetable = timetable_or_utc(&calendar);
                let next = timetable.next_after(Timestamp::UNIX_EPOCH);
                prop_assert!(next.is_none_or(|next| next > Timestamp::UNIX_EPOCH));
            }
            Err(error) => prop_assert!(text.is_char_boundary(error.at) && !error.to_string().is_empty()),
        }
    }
}

fn timetable_or_utc(calendar: &Calendar) -> Timetable {
    let known = calendar.timetable(&TimeZone::UTC, tz::db());
    known.unwrap_or_else(|_| {
        let text = calendar.to_string();
        let (plain, _) = text.rsplit_once(' ').unwrap();
        timetable(&plain.parse().unwrap(), &TimeZone::UTC)
    })
}
