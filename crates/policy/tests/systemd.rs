//! Calendar expressions next to the real `systemd-analyze calendar`: what is taken and what is
//! refused, the normal form, and the next moments, in many zones and mostly around the days on
//! which clocks are set. What may differ is in [`Difference`], and nowhere else.
//!
//! `TRESOR_SOAK_RUNS` and `TRESOR_SOAK_SEED` choose how many expressions, and which.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

mod expressions;

use std::{collections::BTreeMap, process::Command};

use expressions::{Random, ZONES, expression, moment};
use jiff::{
    SignedDuration, Timestamp, civil,
    tz::{self, AmbiguousOffset, Dst, TimeZone},
};
use tresor_policy::calendar::{Calendar, Timetable};

/// Seconds of the moments that are compared.
const ITERATIONS: usize = 12;

/// In the normal run.
const RUNS: u64 = 600;

/// How the two may differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Difference {
    /// What falls into an hour that is missing: systemd leaves it out.
    MadeUp,
    /// The hour that comes twice, for expressions of every hour: systemd leaves the second one out.
    Again,
    /// The same hour, for a question that is asked in its second pass: systemd goes on in it.
    Asked,
    /// Days from the end of the month go up to 28; of a list systemd 252 takes the second value up to
    /// 25 only, the third up to 22 and so on: it takes the margin off again for each of them.
    Shrunk,
    /// systemd may end with "Resource deadlock avoided" for months with a repetition that has no end
    /// (`1/8`), for such days and hours when the clock is set forward, and for any when it is so at another
    /// time than a full hour (St John's until 2011: at 00:01).
    GaveUp,
    /// A repetition without an end (days `1/9`) is carried by systemd beyond its field: after the 28th
    /// comes the 37th, the 6th of the next month, and the 1st is left out.
    Overshot,
    /// Every whole second and others: systemd forgets the others.
    Swallowed,
    /// A zone after `@SECONDS`, which is in UTC: systemd takes and forgets it.
    ZoneOfSeconds,
    /// Where a clock is set back otherwise than from summer time (for good, as in Pyongyang in 2015; or
    /// where the winter's is the special time, as in Casablanca), systemd may go from the first pass
    /// of an hour straight to the second.
    OddlyBack,
    /// Where a clock is set forward from a special time to the usual one (Dublin), or not at a full hour,
    /// systemd leaves out the rest of the day, or a part of it.
    OddlyForward,
}

/// What systemd made of a text.
enum Systemd {
    Refused,
    GaveUp,
    /// The normal form, and the next moments in whole seconds.
    Said(String, Vec<i64>),
}

fn systemd(text: &str, zone: &str, base: Timestamp) -> Systemd {
    let output = Command::new("systemd-analyze")
        .arg("calendar")
        .arg(format!("--iterations={ITERATIONS}"))
        .arg(format!(
            "--base-time={}",
            base.strftime("%Y-%m-%d %H:%M:%S UTC")
        ))
        .args(["--", text])
        .env("TZ", zone)
        .env("LC_ALL", "C")
        .env("SYSTEMD_COLORS", "0")
        .output()
        .expect("systemd-analyze is needed (Debian: systemd)");
    let said = String::from_utf8(output.stdout).unwrap();
    let line = |key: &str| {
        said.lines()
            .filter_map(move |line| line.trim_start().strip_prefix(key)?.split_once(": "))
            .map(|(_, value)| value.trim().to_owned())
            .collect::<Vec<_>>()
    };
    let normal = line("Normalized form").pop();
    let Some(normal) = normal else {
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success(),
            "{text} from {base} in {zone}: {error}"
        );
        if error.contains("Resource deadlock avoided") {
            return Systemd::GaveUp;
        }
        assert!(
            error.contains("Failed to parse calendar"),
            "{text} from {base} in {zone}: {error}"
        );
        return Systemd::Refused;
    };
    // In a zone that is not UTC, each moment is told in UTC as well.
    let mut moments = line("(in UTC)");
    if moments.is_empty() {
        moments = line("Next elapse");
        moments.extend(line("Iter"));
    }
    moments.retain(|moment| moment != "never");
    let moments = moments.iter().map(|moment| {
        let moment = moment.strip_suffix(" UTC").unwrap();
        let moment = civil::DateTime::strptime("%a %Y-%m-%d %H:%M:%S", moment).unwrap();
        TimeZone::UTC.to_timestamp(moment).unwrap().as_second()
    });
    Systemd::Said(normal, moments.collect())
}

/// What stands between the two, moment by moment. What no [`Difference`] explains is an error.
fn compare(ours: &Ours<'_>, base: Timestamp, theirs: &[i64]) -> Result<Vec<Difference>, String> {
    let mut differences = Vec::new();
    let mut mine = ours.timetable.elapses_after(base).peekable();
    for (place, their) in theirs.iter().enumerate() {
        loop {
            let next = mine.peek().copied();
            match next {
                Some(at) if at.as_second() == *their => {
                    mine.next();
                    break;
                }
                Some(at) if at.as_second() < *their => {
                    mine.next();
                    differences.push(ours.extra(at)?);
                }
                _ => {
                    let before = theirs.get(..place).and_then(<[i64]>::last);
                    let before = before.map_or(base.as_second(), |before| *before);
                    differences.push(ours.left_out(base, before, *their)?);
                    break;
                }
            }
        }
    }
    if theirs.len() < ITERATIONS {
        for at in mine {
            differences.push(ours.extra(at)?);
        }
    }
    Ok(differences)
}

struct Ours<'a> {
    text: &'a str,
    calendar: &'a Calendar,
    timetable: &'a Timetable,
}

impl Ours<'_> {
    /// Whether the clock shows this time for the second time.
    fn is_second_pass(&self, at: Timestamp) -> bool {
        let zone = self.timetable.zone();
        let shown = zone.to_datetime(at);
        match zone.to_ambiguous_timestamp(shown).offset() {
            AmbiguousOffset::Fold { after, .. } => zone.to_offset(at) == after,
            _ => false,
        }
    }

    /// Whether the time that the clock shows comes twice, and not because summer time ends.
    fn is_oddly_set_back(&self, at: Timestamp) -> bool {
        let zone = self.timetable.zone();
        let shown = zone.to_datetime(at);
        match zone.to_ambiguous_timestamp(shown).offset() {
            AmbiguousOffset::Fold { before, after } => {
                let utc = |offset: tz::Offset| offset.to_timestamp(shown).unwrap();
                let dst = |at: Timestamp| zone.to_offset_info(at).dst();
                !(dst(utc(before)) == Dst::Yes && dst(utc(after)) == Dst::No)
            }
            _ => false,
        }
    }

    /// Whether the clock has been set forward on this day, and not because summer time begins.
    fn is_oddly_set_forward(&self, at: Timestamp) -> bool {
        let zone = self.timetable.zone();
        let nano = SignedDuration::from_nanos(1);
        let Some(change) = zone.preceding(at + nano).next() else {
            return false;
        };
        let (before, after) = (change.timestamp() - nano, change.timestamp());
        zone.to_offset(before) < zone.to_offset(after)
            && (zone.to_offset_info(after).dst() == Dst::No
                || zone.to_datetime(before).minute() != 59)
            && zone.to_datetime(after).date() == zone.to_datetime(at).date()
    }

    /// We have a moment that they have not.
    fn extra(&self, at: Timestamp) -> Result<Difference, String> {
        if self.is_second_pass(at) && self.calendar.every_hour() {
            return Ok(Difference::Again);
        }
        if !self.calendar.every_hour() && self.skips_something(at) {
            return Ok(Difference::MadeUp);
        }
        if self.is_oddly_set_back(at) {
            return Ok(Difference::OddlyBack);
        }
        if self.is_oddly_set_forward(at) {
            return Ok(Difference::OddlyForward);
        }
        if is_overshot(self.calendar, self.timetable.zone().to_datetime(at)) {
            return Ok(Difference::Overshot);
        }
        Err(format!("`{}`: only we have {at}", self.text))
    }

    /// Whether the clock is set forward at `at`, over a time of the expression on a clock that is
    /// never set.
    fn skips_something(&self, at: Timestamp) -> bool {
        let zone = self.timetable.zone();
        let Some(change) = zone.preceding(at + SignedDuration::from_nanos(1)).next() else {
            return false;
        };
        let (before, after) = (
            zone.to_datetime(at - SignedDuration::from_nanos(1)),
            zone.to_datetime(at),
        );
        if change.timestamp() != at || before >= after {
            return false;
        }
        // The same expression without its zone.
        let normal = self.calendar.to_string();
        let plain = match self.calendar.zone() {
            Some(zone) => normal.trim_end_matches(zone.as_str()).trim_end(),
            None => &normal,
        };
        let plain: Calendar = plain.parse().unwrap();
        let plain = plain
            .timetable(&TimeZone::UTC, &tz::TimeZoneDatabase::none())
            .unwrap();
        let utc = |shown: civil::DateTime| TimeZone::UTC.to_timestamp(shown).unwrap();
        plain
            .next_after(utc(before))
            .is_some_and(|next| next < utc(after))
    }

    /// They have a moment that we have not.
    fn left_out(&self, base: Timestamp, before: i64, at: i64) -> Result<Difference, String> {
        let begun = Timestamp::from_second(before).unwrap();
        let at = Timestamp::from_second(at).unwrap();
        let near = at.duration_since(base).as_hours() < 24;
        if near
            && self.is_second_pass(base)
            && self.is_second_pass(begun)
            && self.is_second_pass(at)
        {
            return Ok(Difference::Asked);
        }
        if self.is_oddly_set_back(at) {
            return Ok(Difference::OddlyBack);
        }
        Err(format!("`{}`: only systemd has {at}", self.text))
    }
}

/// Whether a value or a step of a list of days from the end is above what is left for its place.
fn is_shrunk(calendar: &Calendar) -> bool {
    let normal = calendar.to_string();
    let Some((_, rest)) = normal.split_once('~') else {
        return false;
    };
    let days = rest.split(' ').next().unwrap();
    days.split(',').zip(0..).any(|(value, place)| {
        let numbers = value.split("..").flat_map(|part| part.split('/'));
        let most = numbers.map(|number| number.parse::<i64>().unwrap()).max();
        place > 0 && most.unwrap() > 28 - 3 * place
    })
}

/// Whether systemd may give up: see [`Difference::GaveUp`].
fn may_give_up(calendar: &Calendar, timetable: &Timetable, base: Timestamp) -> bool {
    let fields = fields(calendar);
    let endless_in = |field: usize| !endless(&fields[field]).is_empty();
    let forward = set_forward(timetable, base);
    let within_an_hour = |before: &civil::DateTime| before.minute() != 59;
    endless_in(1)
        || (endless_in(2) || endless_in(3)) && !forward.is_empty()
        || forward.iter().any(within_an_hour)
}

/// What the clock shows just before it is set forward, in the time that the moments span.
fn set_forward(timetable: &Timetable, base: Timestamp) -> Vec<civil::DateTime> {
    let zone = timetable.zone();
    let last = timetable.elapses_after(base).take(ITERATIONS).last();
    let until = last.unwrap_or(base) + SignedDuration::from_hours(24);
    let changes = zone.following(base).map(|change| change.timestamp());
    changes
        .take_while(|at| *at <= until)
        .map(|at| (at - SignedDuration::from_nanos(1), at))
        .filter(|(before, at)| zone.to_offset(*before) < zone.to_offset(*at))
        .map(|(before, _)| zone.to_datetime(before))
        .collect()
}

/// Year, month, day, hour, minute and second of the normal form.
fn fields(calendar: &Calendar) -> Vec<String> {
    let normal = calendar.to_string();
    let words: Vec<&str> = normal.split(' ').collect();
    let first = usize::from(words[0].starts_with(|first: char| first.is_alphabetic()));
    let parts = words[first]
        .split(['-', '~'])
        .chain(words[first + 1].split(':'));
    parts.map(str::to_owned).collect()
}

/// Start and step of the repetitions that have no end, in millionths.
fn endless(field: &str) -> Vec<(i64, i64)> {
    let millionths = |number: &str| {
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        whole.parse::<i64>().unwrap() * 1_000_000 + fraction.parse::<i64>().unwrap()
    };
    let repetitions = field.split(',').filter(|value| !value.contains(".."));
    let repetitions = repetitions.filter_map(|value| value.split_once('/'));
    repetitions
        .map(|(start, step)| (millionths(start), millionths(step)))
        .collect()
}

/// Whether a field of `at` is one that an endless repetition, gone beyond the field before, has passed.
fn is_overshot(calendar: &Calendar, at: civil::DateTime) -> bool {
    let whole = |number: i8| i64::from(number) * 1_000_000;
    let from_end = calendar.to_string().contains('~');
    let days = at.first_of_month().yesterday().unwrap().days_in_month();
    let micros = whole(at.second()) + i64::from(at.subsec_nanosecond() / 1000);
    let passed = |field: usize, value: i64, highest: i64, length: i64| {
        endless(&fields(calendar)[field])
            .iter()
            .any(|(start, step)| {
                if field == 2 && from_end {
                    return value < *step;
                }
                let beyond = start + ((highest - start) / step + 1) * step;
                value < beyond - length
            })
    };
    passed(1, whole(at.month()), whole(12), whole(12))
        || passed(2, whole(at.day()), whole(days), whole(days))
        || passed(3, whole(at.hour()), whole(23), whole(24))
        || passed(4, whole(at.minute()), whole(59), whole(60))
        || passed(5, micros, 59_999_999, whole(60))
}

/// Whether all that differs is that systemd has every second where we have others too.
fn forgets_fractions(calendar: &Calendar, normal: &str) -> bool {
    let seconds = &fields(calendar)[5];
    let others = seconds.split(',').filter(|value| *value != "00/1");
    let all = calendar.to_string().replace(&format!(":{seconds}"), ":*");
    others.clone().any(|value| value.contains('.'))
        && others.count() < seconds.split(',').count()
        && all == normal
}

fn one(random: &mut Random) -> Result<Vec<Difference>, String> {
    let zone = random.pick(&ZONES);
    let named = random.one_in(2);
    let text = expression(random, named.then_some(zone));
    let database = tz::db();
    let base = moment(random, &database.get(zone).unwrap());
    let local = if named { "UTC" } else { zone };
    let told = |what: String| format!("TZ={local}, from {base}: {what}");

    let theirs = systemd(&text, local, base);
    let default = database.get(local).unwrap();
    let calendar = Calendar::parse(&text);
    let timetable = calendar
        .as_ref()
        .map_err(ToString::to_string)
        .and_then(|calendar| {
            let timetable = calendar.timetable(&default, database);
            timetable.map_err(|error| error.to_string())
        });
    let timetable = match (timetable, &theirs) {
        (Err(_), Systemd::Refused) => return Ok(Vec::new()),
        (Err(_), Systemd::Said(normal, _)) if text.contains('@') && normal.ends_with("UTC") => {
            return Ok(vec![Difference::ZoneOfSeconds]);
        }
        (Err(error), _) => return Err(told(format!("`{text}`: we refuse it: {error}"))),
        (Ok(timetable), _) => timetable,
    };
    let calendar = calendar.unwrap();
    let (normal, moments) = match theirs {
        Systemd::Refused if is_shrunk(&calendar) => return Ok(vec![Difference::Shrunk]),
        Systemd::GaveUp if may_give_up(&calendar, &timetable, base) => {
            return Ok(vec![Difference::GaveUp]);
        }
        Systemd::Refused => return Err(told(format!("`{text}`: systemd refuses it"))),
        Systemd::GaveUp => return Err(told(format!("`{text}`: systemd gave up"))),
        Systemd::Said(normal, moments) => (normal, moments),
    };
    if forgets_fractions(&calendar, &normal) {
        return Ok(vec![Difference::Swallowed]);
    }
    if calendar.to_string() != normal {
        return Err(told(format!(
            "`{text}`: we write {calendar}, systemd {normal}"
        )));
    }
    let ours = Ours {
        text: &text,
        calendar: &calendar,
        timetable: &timetable,
    };
    compare(&ours, base, &moments).map_err(told)
}

#[test]
fn expressions_are_what_they_are_to_systemd() {
    let number =
        |name: &str, default| std::env::var(name).map_or(default, |number| number.parse().unwrap());
    let (runs, seed) = (
        number("TRESOR_SOAK_RUNS", RUNS),
        number("TRESOR_SOAK_SEED", 1),
    );
    let mut differences: BTreeMap<Difference, u64> = BTreeMap::new();
    let mut broken = Vec::new();
    for run in seed..seed + runs {
        match one(&mut Random::new(run)) {
            Ok(found) => {
                for difference in found {
                    *differences.entry(difference).or_default() += 1;
                }
            }
            Err(error) => {
                println!("BROKEN seed {run}: {error}");
                broken.push(error);
            }
        }
    }
    for (difference, count) in &differences {
        println!("DIFFERS {difference:?} {count}");
    }
    println!("DONE {runs} {}", broken.len());
    assert!(
        broken.is_empty(),
        "{} of {runs} runs broke: {}",
        broken.len(),
        broken[0]
    );
}
