//! How everything stands, once a day.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp, civil::Time, tz::TimeZone};
use tresor_catalog::{AlertFilter, Catalog, CatalogError, ItemFilter, Page};
use tresor_jobs::JobFilter;
use tresor_model::{JobKind, JobState, NotificationId};
use tresor_notify::{Event, EventKind, one_line};

use super::teller::{notification, settings_of};
use crate::{Outlook, Standing};

/// More of a kind are only counted.
const NAMED: usize = 20;
const MOST_JOBS: u32 = 20_000;
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// Keeps what is due for each channel that wants it.
pub(crate) async fn add_due(
    catalog: &Catalog,
    zone: &TimeZone,
    now: Timestamp,
) -> Result<(), CatalogError> {
    let mut lines = None;
    for channel in catalog.channels().await? {
        let time = settings_of(&channel).and_then(|settings| settings.digest);
        let Some(moment) = time.and_then(|time| last_moment(time, zone, now)) else {
            continue;
        };
        let told = channel.digest_at.max(Some(channel.created_at));
        if told >= Some(moment) {
            continue;
        }
        if lines.is_none() {
            lines = Some(look(catalog, zone, now).await?);
        }
        let event = Event {
            id: NotificationId::generate(),
            at: now,
            kind: EventKind::Digest,
            subject: String::new(),
            problem: None,
            since: None,
            lines: lines.clone().unwrap_or_default(),
        };
        if let Some(waits) = notification(&channel.name, event, now) {
            catalog.add_digest(&waits, moment).await?;
        }
    }
    Ok(())
}

/// The last moment of that time of day that is not after `now`.
fn last_moment(time: Time, zone: &TimeZone, now: Timestamp) -> Option<Timestamp> {
    let today = now.to_zoned(zone.clone()).date();
    let of = |day: jiff::civil::Date| {
        let moment = day.to_datetime(time).to_zoned(zone.clone()).ok()?;
        Some(moment.timestamp())
    };
    match of(today) {
        Some(moment) if moment <= now => Some(moment),
        _ => of(today.yesterday().ok()?),
    }
}

async fn look(
    catalog: &Catalog,
    zone: &TimeZone,
    now: Timestamp,
) -> Result<Vec<String>, CatalogError> {
    let mut outlooks = BTreeMap::new();
    for record in catalog.all_policies().await? {
        let name = record.policy.name.clone();
        let outlook = Outlook::new(record.policy, record.revision, zone, now);
        outlooks.extend(outlook.ok().map(|outlook| (name, outlook)));
    }
    let (mut fresh, mut late) = (0, Vec::new());
    let items = catalog.all_items(&ItemFilter::default()).await?;
    for item in &items {
        let standing = outlooks.get(&item.policy);
        match standing.map(|outlook| Standing::of(item, outlook, now)) {
            Some(Standing::Fresh) => fresh += 1,
            Some(Standing::Late { since }) => late.push(format!("{} since {since}", item.vm_name)),
            _ => {}
        }
    }
    let protected = items.len();
    let mut lines = vec![format!(
        "Protected: {protected}. With a recovery point as young as promised: {fresh}. Late: {}.",
        late.len()
    )];
    lines.push(jobs(catalog, now).await?);
    lines.extend(named("Late", &late));
    let filter = AlertFilter {
        open: true,
        ..AlertFilter::default()
    };
    let alerts = catalog.alerts(&filter, &Page::default()).await?;
    let alerts = alerts.iter().map(|alert| {
        let subject = one_line(&alert.subject, 80);
        format!(
            "{subject}: {} [{}]",
            alert.problem.title, alert.problem.code
        )
    });
    let alerts: Vec<_> = alerts.collect();
    lines.push(match alerts.len() {
        0 => "No alert is open.".to_owned(),
        number => format!("Open alerts: {number}."),
    });
    lines.extend(named("Alert", &alerts));
    Ok(lines)
}

async fn jobs(catalog: &Catalog, now: Timestamp) -> Result<String, CatalogError> {
    use tresor_jobs::JobLog as _;
    let filter = JobFilter {
        kind: Some(JobKind::Backup),
        limit: Some(MOST_JOBS),
        ..JobFilter::default()
    };
    // A log that cannot be read is told by other means.
    let jobs = catalog.list(&filter).await.unwrap_or_default();
    let young = jobs
        .iter()
        .take_while(|header| now.duration_since(header.job.created_at) < DAY);
    let (mut good, mut failed) = (0, 0);
    for header in young {
        match header.state {
            JobState::Completed | JobState::CompletedWithWarnings => good += 1,
            JobState::Failed => failed += 1,
            _ => {}
        }
    }
    Ok(format!(
        "Backups of the last 24 hours: {good} completed, {failed} failed."
    ))
}

fn named(word: &str, all: &[String]) -> Vec<String> {
    let mut lines: Vec<_> = all
        .iter()
        .take(NAMED)
        .map(|one| format!("  {word}: {one}"))
        .collect();
    if all.len() > NAMED {
        lines.push(format!("  and {} more", all.len() - NAMED));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_moments() {
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        let seven: Time = "07:00".parse().unwrap();
        for (now, expected) in [
            ("2026-03-02T06:00:00Z", "2026-03-02T06:00:00Z"),
            ("2026-03-02T05:59:59Z", "2026-03-01T06:00:00Z"),
            ("2026-03-29T05:00:00Z", "2026-03-29T05:00:00Z"),
        ] {
            let moment = last_moment(seven, &berlin, now.parse().unwrap());
            assert_eq!(moment, Some(expected.parse().unwrap()), "{now}");
        }
    }

    #[tokio::test]
    async fn a_summary_is_kept_once_a_day_for_who_wants_it() {
        let directory = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(&directory.path().join("catalog.db")).await;
        let catalog = catalog.unwrap();
        let made: Timestamp = "2026-03-02T12:00:00Z".parse().unwrap();
        for (name, digest) in [("daily", Some("07:00")), ("never", None)] {
            let channel = tresor_catalog::ChannelRecord {
                name: name.to_owned(),
                settings: serde_json::json!({
                    "way": {"webhook": {"url": "https://example.org"}}, "digest": digest,
                }),
                secret: None,
                created_at: made,
                last_sent_at: None,
                failing_since: None,
                failure: None,
                digest_at: None,
            };
            catalog.set_channel(&channel, false).await.unwrap();
        }
        let mut counts = Vec::new();
        for now in [
            "2026-03-02T12:00:01Z",
            "2026-03-03T06:59:59Z",
            "2026-03-03T07:00:00Z",
            "2026-03-03T07:00:30Z",
            "2026-03-05T00:00:00Z",
        ] {
            let now = now.parse().unwrap();
            add_due(&catalog, &TimeZone::UTC, now).await.unwrap();
            let due = catalog.due_notifications(Timestamp::MAX, 10).await.unwrap();
            assert!(due.iter().all(|waits| waits.channel == "daily"));
            counts.push(due.len());
        }
        assert_eq!(counts, [0, 0, 1, 1, 2], "what was missed is told once");
    }
}
