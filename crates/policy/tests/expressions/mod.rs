//! Expressions from a seed, in every form that the syntax has, and places to look at them from.
#![allow(dead_code, reason = "each test uses its part")]

use jiff::{
    Timestamp,
    tz::{TimeZone, TimeZoneTransition},
};

/// Zones whose clocks are set in their own ways: by an hour, by half of one, at midnight, in winter
/// (Dublin), around a month of fasting (Casablanca), to another offset for good, over a whole day.
pub(crate) const ZONES: [&str; 16] = [
    "UTC",
    "Europe/Berlin",
    "Europe/London",
    "Europe/Dublin",
    "America/New_York",
    "America/St_Johns",
    "America/Sao_Paulo",
    "America/Santiago",
    "America/Caracas",
    "Africa/Cairo",
    "Africa/Casablanca",
    "Asia/Kathmandu",
    "Asia/Beirut",
    "Asia/Pyongyang",
    "Australia/Lord_Howe",
    "Pacific/Apia",
];

/// Numbers from a seed.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        // Neighbours as seeds have nothing in common (splitmix64).
        let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self((mixed ^ (mixed >> 31)) | 1)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit.max(1)
    }

    pub(crate) fn one_in(&mut self, limit: u64) -> bool {
        self.below(limit) == 0
    }

    pub(crate) fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        let place = usize::try_from(self.below(from.len() as u64)).unwrap();
        from[place]
    }

    fn between(&mut self, lowest: u64, highest: u64) -> u64 {
        lowest + self.below(highest - lowest + 1)
    }
}

/// An expression; most are valid, but not all. `zone` is one that it may name.
pub(crate) fn expression(random: &mut Random, zone: Option<&str>) -> String {
    let mut text = match random.below(12) {
        0 => shorthand(random),
        1 if random.one_in(4) => format!("@{}", random.below(8_000_000_000)),
        _ => ordinary(random),
    };
    if let Some(zone) = zone {
        text = format!("{text} {zone}");
    }
    if random.one_in(12) {
        text = damaged(random, &text);
    }
    text
}

/// Only whole seconds.
pub(crate) fn whole_seconds(random: &mut Random) -> String {
    loop {
        let text = expression(random, None);
        let tail = text.rsplit(':').next().unwrap_or_default();
        if !tail.contains('.') || tail.contains("..") && !tail.replace("..", "").contains('.') {
            return text;
        }
    }
}

fn shorthand(random: &mut Random) -> String {
    let word = random.pick(&[
        "minutely",
        "hourly",
        "daily",
        "weekly",
        "monthly",
        "quarterly",
        "semiannually",
        "semi-annually",
        "biannually",
        "bi-annually",
        "yearly",
        "annually",
        "anually",
        "Daily",
        "HOURLY",
    ]);
    word.to_owned()
}

fn ordinary(random: &mut Random) -> String {
    let mut parts = Vec::new();
    if random.one_in(3) {
        parts.push(weekdays(random));
    }
    if random.one_in(2) {
        parts.push(date(random));
    }
    if parts.is_empty() || !random.one_in(4) {
        parts.push(time(random));
    }
    let space = if random.one_in(10) { "  " } else { " " };
    parts.join(space)
}

fn weekdays(random: &mut Random) -> String {
    let day = |random: &mut Random| {
        random
            .pick(&[
                "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun", "monday", "TUESDAY", "Friday",
                "sun",
            ])
            .to_owned()
    };
    let count = random.between(1, 3);
    let mut parts = Vec::new();
    for _ in 0..count {
        let first = day(random);
        parts.push(match random.below(4) {
            0 => format!("{first}..{}", day(random)),
            1 => format!("{first}-{}", day(random)),
            _ => first,
        });
    }
    let comma = if random.one_in(8) { "," } else { "" };
    parts.join(",") + comma
}

fn date(random: &mut Random) -> String {
    let month = list(random, 1, 12, 3);
    let from_end = random.one_in(3);
    let (separator, day) = if from_end {
        ("~", list(random, 1, 28, 2))
    } else {
        ("-", list(random, 1, 31, 4))
    };
    if random.one_in(2) {
        return format!("{month}{separator}{day}");
    }
    let year = match random.below(5) {
        0 => list(random, 2000, 2199, 2),
        1 => list(random, 0, 99, 1),
        _ => "*".to_owned(),
    };
    format!("{year}-{month}{separator}{day}")
}

fn time(random: &mut Random) -> String {
    let hour = list(random, 0, 23, 3);
    let minute = list(random, 0, 59, 3);
    if random.one_in(2) {
        return format!("{hour}:{minute}");
    }
    let second = if random.one_in(3) {
        seconds(random)
    } else {
        list(random, 0, 59, 2)
    };
    format!("{hour}:{minute}:{second}")
}

/// `*`, or up to `most` values.
fn list(random: &mut Random, lowest: u64, highest: u64, most: u64) -> String {
    if random.one_in(3) {
        return "*".to_owned();
    }
    let count = random.between(1, most);
    let values = (0..count).map(|_| value(random, lowest, highest));
    values.collect::<Vec<_>>().join(",")
}

fn value(random: &mut Random, lowest: u64, highest: u64) -> String {
    // Now and then what the field does not have.
    let highest = if random.one_in(30) {
        highest + 2
    } else {
        highest
    };
    let first = random.between(lowest, highest);
    let width = if random.one_in(3) { 2 } else { 0 };
    match random.below(6) {
        0 => {
            let lowest = if random.one_in(10) { lowest } else { first };
            format!("{first:0width$}..{}", random.between(lowest, highest))
        }
        1 => {
            let last = random.between(first, highest);
            format!("{first:0width$}..{last}/{}", random.between(1, 9))
        }
        2 => format!("{first:0width$}/{}", random.between(1, 9)),
        _ => format!("{first:0width$}"),
    }
}

/// With fractions.
fn seconds(random: &mut Random) -> String {
    let fraction = |random: &mut Random, highest: u64| {
        let digits = usize::try_from(random.between(1, 8)).unwrap();
        let number = random.below(10_u64.pow(u32::try_from(digits).unwrap()));
        format!("{}.{number:0digits$}", random.between(0, highest))
    };
    match random.below(5) {
        0 => {
            let first = fraction(random, 20);
            format!("{first}..4{}", fraction(random, 9))
        }
        1 => {
            let first = fraction(random, 20);
            format!("{first}/{}", fraction(random, 9))
        }
        2 => {
            let first = fraction(random, 20);
            format!("{first}..4{}/{}", fraction(random, 9), fraction(random, 5))
        }
        3 => {
            let first = fraction(random, 59);
            format!("{first},{}", fraction(random, 59))
        }
        _ => fraction(random, 59),
    }
}

/// A character less, more or another one.
fn damaged(random: &mut Random, text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let at = usize::try_from(random.below(bytes.len() as u64)).unwrap();
    let other = b"0159*,.-~:/ aM@"[usize::try_from(random.below(15)).unwrap()];
    match random.below(3) {
        0 => drop(bytes.remove(at)),
        1 => bytes.insert(at, other),
        _ => bytes[at] = other,
    }
    String::from_utf8(bytes).unwrap()
}

/// A moment between 2000 and 2090, in three of four cases less than three days before a change of
/// the zone's clock, or one hour after it.
pub(crate) fn moment(random: &mut Random, zone: &TimeZone) -> Timestamp {
    const FIRST: u64 = 946_684_800;
    const YEAR: u64 = 31_557_600;
    let any = FIRST + random.below(90 * YEAR);
    let any = Timestamp::from_second(i64::try_from(any).unwrap()).unwrap();
    let change = zone.following(any).next().filter(|_| !random.one_in(4));
    let Some(change) = change.as_ref().map(TimeZoneTransition::timestamp) else {
        return any;
    };
    let most = if random.one_in(2) {
        3 * 86_400
    } else {
        3 * 3600
    };
    let before = random.between(0, most);
    Timestamp::from_second(change.as_second() + 3600 - i64::try_from(before).unwrap()).unwrap()
}
