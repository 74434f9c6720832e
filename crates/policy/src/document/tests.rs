//! The document as text, its defaults, and what is refused.

use jiff::{
    Timestamp,
    tz::{self, TimeZone},
};

use super::*;

const FULL: &str = r#"
name = "databases"
automatic_remedies = false

[[schedules]]
calendar = "Mon..Fri *-*-* 08..18:00:00"
zone = "Europe/Berlin"
window = "30m"

[[schedules]]
calendar = "Sat,Sun *-*-* 03:00:00 UTC"
window = "4h"

[retention]
daily = 7
within = "2d"

[consistency]
wanted = "application"
lowest = "file-system"

[limits]
prepare = "20m"
snapshot = "5m"
transfer = "2d"
commit = "10m"
release = "2m"

[retry]
tries = 6
first_pause = "1m"
longest_pause = "30m"

[bandwidth]
read_mib_s = 200
upload_mib_s = 50

[concurrency]
host = 1
vault = 8
storage_group = 2

[[blackouts]]
calendar = "*-*~01 18:00:00"
zone = "Europe/Berlin"
lasts = "12h"
"#;

fn judged(policy: &Policy) -> Vec<String> {
    let now: Timestamp = "2026-11-28T00:00:00Z".parse().unwrap();
    let judged = policy.validate(now, &TimeZone::UTC, tz::db());
    let errors = judged.err().unwrap_or_default();
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn toml_and_json_have_one_shape() {
    let policy: Policy = toml::from_str(FULL).unwrap();
    assert_eq!(judged(&policy), Vec::<String>::new());
    let written = toml::to_string(&policy).unwrap();
    assert_eq!(toml::from_str::<Policy>(&written).unwrap(), policy);
    // What was given is written as it was given.
    let given: toml::Table = toml::from_str(FULL).unwrap();
    let again: toml::Table = toml::from_str(&written).unwrap();
    assert_eq!(given, again);
    let json = serde_json::to_value(&policy).unwrap();
    assert_eq!(json, serde_json::to_value(&given).unwrap());
    assert_eq!(serde_json::from_value::<Policy>(json).unwrap(), policy);
}

/// docs/policies.md: its example is a policy, and its expressions have the normal forms that it says.
#[test]
fn the_manual_is_true() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/policies.md");
    let manual = std::fs::read_to_string(path).unwrap();
    let (_, example) = manual.split_once("```toml\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let policy: Policy = toml::from_str(example).unwrap();
    assert_eq!(judged(&policy), Vec::<String>::new());
    assert_eq!(policy.limits, TimeLimits::default());

    let (_, table) = manual
        .split_once("| expression | normal form | due |")
        .unwrap();
    let rows = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let mut count = 0;
    for row in rows {
        let cells: Vec<_> = row.split('`').collect();
        let calendar: Calendar = cells[1].parse().unwrap();
        assert_eq!(calendar.to_string(), cells[3]);
        count += 1;
    }
    assert!(count > 5);
}

#[test]
fn a_name_and_a_calendar_are_enough() {
    let text = "name = \"x\"\n[[schedules]]\ncalendar = \"22:00\"\n";
    let policy: Policy = toml::from_str(text).unwrap();
    let schedule = Schedule {
        window: Length::from_hours(1),
        ..Policy::nightly().schedules[0].clone()
    };
    let wanted = Policy {
        name: "x".to_owned(),
        schedules: vec![schedule],
        retention: Rules::default(),
        ..Policy::nightly()
    };
    assert_eq!(policy, wanted);
    // Part of a table is enough, too.
    let policy: Policy = toml::from_str(&format!("{text}[retry]\ntries = 2\n")).unwrap();
    assert_eq!(policy.retry.first_pause, Retry::default().first_pause);
}

#[test]
fn what_is_not_known_is_refused_everywhere() {
    for table in [
        "",
        "schedules",
        "retention",
        "consistency",
        "limits",
        "retry",
        "bandwidth",
        "concurrency",
        "blackouts",
    ] {
        let mut policy: toml::Table = toml::from_str(FULL).unwrap();
        let slip = ("slip".to_owned(), toml::Value::Integer(1));
        match policy.get_mut(table) {
            None => policy.extend([slip]),
            Some(toml::Value::Array(tables)) => {
                tables[0].as_table_mut().unwrap().extend([slip]);
            }
            Some(one) => one.as_table_mut().unwrap().extend([slip]),
        }
        let error = policy.try_into::<Policy>().expect_err(table);
        assert!(
            error.to_string().contains("unknown field `slip`"),
            "{table}: {error}"
        );
    }
    let error = toml::from_str::<Policy>("name = \"x\"\n[[schedules]]\ncalendar = \"25:00\"\n");
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("line 3") && error.contains("an hour is from 0 to 23"),
        "{error}"
    );
}

#[test]
fn the_ready_made_policies_are_good() {
    let made = Policy::ready_made();
    let names: Vec<_> = made.iter().map(|policy| policy.name.as_str()).collect();
    assert_eq!(names, ["nightly", "hourly"]);
    let gap = |policy: &Policy| {
        assert_eq!(judged(policy), Vec::<String>::new());
        let from = "2026-11-28T00:00:00Z".parse().unwrap();
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        policy
            .windows(&berlin, tz::db())
            .unwrap()
            .rpo(from)
            .to_string()
    };
    // With the hour that is set back.
    assert_eq!(made.each_ref().map(gap), ["1d 7h", "1h 30m"]);
}

/// A blackout that lasts for weeks now does not cover what comes after it.
#[test]
fn a_long_blackout_is_not_all() {
    let mut policy: Policy = toml::from_str(FULL).unwrap();
    policy.schedules[0].calendar = "minutely".parse().unwrap();
    policy.blackouts[0].calendar = "2026-11-27".parse().unwrap();
    policy.blackouts[0].lasts = Length::from_hours(31 * 24);
    assert_eq!(judged(&policy), Vec::<String>::new());
}

/// Each change of a good policy, and what is said of it.
#[test]
fn what_is_wrong_and_in_which_field() {
    type Change = fn(&mut Policy);
    let cases: &[(Change, &str)] = &[
        (
            |policy| policy.name = "a b".to_owned(),
            "name: a name is 1 to 63 letters, digits, `.`, `_` and `-`, a letter or digit first",
        ),
        (
            |policy| policy.schedules.clear(),
            "schedules: 0 entries; 1 to 16 are possible",
        ),
        (
            |policy| policy.blackouts = vec![policy.blackouts[0].clone(); 17],
            "blackouts: 17 entries; 0 to 16 are possible",
        ),
        (
            |policy| policy.schedules[1].window = Length::from_hours(169),
            "schedules[1].window: 7d 1h is not from 1m to 7d",
        ),
        (
            |policy| policy.schedules[0].zone = Some("Europe/Atlantis".parse().unwrap()),
            "schedules[0].zone: there is no time zone `Europe/Atlantis`",
        ),
        (
            |policy| policy.schedules[0].calendar = "1:00 Europe/Atlantis".parse().unwrap(),
            "schedules[0].zone: the calendar expression names a zone as well; \
             schedules[0].calendar: there is no time zone `Europe/Atlantis`",
        ),
        (
            |policy| policy.schedules[0].calendar = "*:*:0/10".parse().unwrap(),
            "schedules[0].calendar: this is due more than once a minute",
        ),
        (
            |policy| policy.blackouts[0].calendar = "*-02-30".parse().unwrap(),
            "blackouts[0].calendar: this is never due",
        ),
        (
            |policy| policy.schedules[0].calendar = "2020-*-*".parse().unwrap(),
            "schedules[0].calendar: this is never due",
        ),
        (
            |policy| policy.blackouts[0].lasts = Length::from_secs(59),
            "blackouts[0].lasts: 59s is not from 1m to 31d",
        ),
        (
            |policy| {
                policy.blackouts[0].calendar = "daily".parse().unwrap();
                policy.blackouts[0].lasts = Length::from_hours(25);
            },
            "blackouts: no backup can ever start: blackouts cover all start windows",
        ),
        (
            |policy| policy.retention.within = Some("soon".to_owned()),
            "retention.within: `soon` is no duration such as 12h, 7d, 2w, 6mo or 1y",
        ),
        (
            |policy| policy.consistency.wanted = Consistency::Crash,
            "consistency.lowest: the lowest consistency is above the one that is wanted",
        ),
        (
            |policy| policy.limits.snapshot = Length::from_secs(1),
            "limits.snapshot: 1s is not from 10s to 30d",
        ),
        (
            |policy| policy.retry.tries = 0,
            "retry.tries: 0 is not from 1 to 20",
        ),
        (
            |policy| policy.retry.first_pause = Length::from_hours(1),
            "retry.first_pause: the first pause is longer than the longest",
        ),
        (
            |policy| policy.bandwidth.upload_mib_s = Some(0),
            "bandwidth.upload_mib_s: 0 is not from 1 to 1048576",
        ),
        (
            |policy| policy.concurrency.storage_group = 1001,
            "concurrency.storage_group: 1001 is not from 1 to 1000",
        ),
    ];
    for (change, said) in cases {
        let mut policy: Policy = toml::from_str(FULL).unwrap();
        change(&mut policy);
        assert_eq!(judged(&policy).join("; "), *said);
    }
}

#[test]
fn pauses_double_up_to_the_longest() {
    let retry = Retry {
        tries: 5,
        first_pause: Length::from_minutes(2),
        longest_pause: Length::from_minutes(10),
    };
    let pauses: Vec<_> = (0..=6)
        .map(|attempt| retry.pause_before(attempt).map(|pause| pause.to_string()))
        .collect();
    let pauses: Vec<_> = pauses.iter().map(Option::as_deref).collect();
    assert_eq!(
        pauses,
        [
            None,
            Some("0s"),
            Some("2m"),
            Some("4m"),
            Some("8m"),
            Some("10m"),
            None
        ]
    );
    let many = Retry {
        tries: 100,
        ..retry
    };
    assert_eq!(many.pause_before(100), Some(Length::from_minutes(10)));
}
