//! Reads what is told, each by one query or a few.

use jiff::{SignedDuration, Timestamp};
use tresor_catalog::{CatalogErrorKind, Counted, Counts, ItemFilter, ItemRecord, ItemState, Tally};
use tresor_service::{Outlook, SCHEDULER_LEASE, Standing};

use super::{
    process,
    table::{
        ALERTS, BACKUP_READ, BACKUP_STORED, BUILD_INFO, FAILING, GUEST_FREEZE, HOST_SEEN, ITEM_DUE,
        ITEM_GAP, ITEM_LAST_POINT, ITEMS, JOB_DURATION, JOB_WAIT, JOBS_ENDED, JOBS_QUEUED,
        JOBS_RUNNING, LAST_TICK, LEADS, LEASE, Metric, OLDEST_WAIT, SUB_TASK_DURATION, VAULT_JOB,
        VAULT_VERIFIED, WAITING,
    },
    text::{Histogram, Page},
};
use crate::{ApiState, failure::Answer};

const MICROS: f64 = 1e6;
/// Kinds of jobs that are about a vault.
const VAULT_JOBS: [&str; 5] = ["collect", "expire", "verify", "check", "catalog"];

/// The page.
pub(crate) async fn gather(state: &ApiState) -> Answer<String> {
    let mut page = Page::default();
    let now = Timestamp::now();
    page.metric(BUILD_INFO)
        .count(&[env!("CARGO_PKG_VERSION")], 1);
    scheduler(state, &mut page).await?;
    items(state, &mut page, now).await?;
    jobs(state, &mut page, now).await?;
    tallies(&state.catalog.tallies().await?, &mut page);
    let mut samples = page.metric(ALERTS);
    for (code, number) in state.catalog.open_alerts().await? {
        samples.count(&[&code], number);
    }
    vaults(state, &mut page).await?;
    hosts(state, &mut page).await?;
    channels(state, &mut page).await?;
    state.requests.write(&mut page);
    process::write(&mut page);
    Ok(page.finish())
}

async fn scheduler(state: &ApiState, page: &mut Page) -> Answer<()> {
    let vitals = &state.vitals;
    page.metric(LEADS).count(&[], vitals.leads().into());
    let mut samples = page.metric(LAST_TICK);
    if let Some(at) = vitals.ticked_at() {
        samples.value(&[], seconds(at));
    }
    let mut samples = page.metric(LEASE);
    match state.catalog.lease(SCHEDULER_LEASE).await {
        Ok(lease) => samples.value(&[], seconds(lease.until)),
        // Nobody has ever scheduled.
        Err(error) if matches!(error.kind, CatalogErrorKind::NotFound(_)) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// An item with what its policy promises.
struct Seen<'a> {
    item: &'a ItemRecord,
    gap: Option<SignedDuration>,
    due: Option<Timestamp>,
}

/// How items stand; the last one: nobody can say.
const STANDINGS: [&str; 6] = ["fresh", "waiting", "late", "vanished", "stopped", "unknown"];

async fn items(state: &ApiState, page: &mut Page, now: Timestamp) -> Answer<()> {
    let items = state.catalog.all_items(&ItemFilter::default()).await?;
    let outlooks = state.outlooks.seen_by(&items).await?;
    let mut counts = STANDINGS.map(|_| 0_u64);
    let mut seen = Vec::with_capacity(items.len());
    for item in &items {
        let outlook = outlooks.get(&item.policy).and_then(Option::as_deref);
        let standing = outlook.map(|outlook| Standing::of(item, outlook, now));
        let place = match standing {
            Some(Standing::Fresh) => 0,
            Some(Standing::Waiting) => 1,
            Some(Standing::Late { .. }) => 2,
            Some(Standing::Vanished { .. }) => 3,
            Some(Standing::Stopped) => 4,
            None => 5,
        };
        counts[place] += 1;
        seen.push(Seen {
            item,
            gap: outlook
                .filter(|_| item.state == ItemState::Protected)
                .and_then(Outlook::gap),
            due: outlook.and_then(|outlook| Standing::due(item, outlook, now)),
        });
    }
    let mut samples = page.metric(ITEMS);
    for (standing, number) in STANDINGS.into_iter().zip(counts) {
        samples.count(&[standing], number);
    }
    each(page, ITEM_LAST_POINT, &seen, |seen| {
        seen.item.memory.last_point_at.map(seconds)
    });
    each(page, ITEM_DUE, &seen, |seen| seen.due.map(seconds));
    each(page, ITEM_GAP, &seen, |seen| {
        seen.gap.map(|gap| gap.as_secs_f64())
    });
    Ok(())
}

fn each(
    page: &mut Page,
    metric: &'static Metric,
    items: &[Seen<'_>],
    value: impl Fn(&Seen<'_>) -> Option<f64>,
) {
    let mut samples = page.metric(metric);
    for seen in items {
        if let Some(value) = value(seen) {
            let item = seen.item;
            samples.value(&[&item.vm_name, &item.policy, &item.vault], value);
        }
    }
}

async fn jobs(state: &ApiState, page: &mut Page, now: Timestamp) -> Answer<()> {
    let mut samples = page.metric(JOBS_RUNNING);
    for (kind, number) in state.catalog.running_jobs().await? {
        samples.count(&[&kind], number);
    }
    let lanes = state.catalog.waiting_jobs().await?;
    let mut samples = page.metric(JOBS_QUEUED);
    for lane in &lanes {
        samples.count(&[&lane.lane], lane.jobs);
    }
    let mut samples = page.metric(OLDEST_WAIT);
    for lane in &lanes {
        let waits = now.duration_since(lane.oldest_at).as_secs_f64().max(0.0);
        samples.value(&[&lane.lane], waits);
    }
    Ok(())
}

fn tallies(counts: &Counts, page: &mut Page) {
    for (tally, metric) in [
        (Tally::JobsEnded, JOBS_ENDED),
        (Tally::JobDuration, JOB_DURATION),
        (Tally::JobWait, JOB_WAIT),
        (Tally::SubTaskDuration, SUB_TASK_DURATION),
        (Tally::BackupRead, BACKUP_READ),
        (Tally::BackupStored, BACKUP_STORED),
        (Tally::GuestFreeze, GUEST_FREEZE),
    ] {
        let mut samples = page.metric(metric);
        let of_tally = counts.iter().filter(|((of, ..), _)| *of == tally);
        for ((_, kind, label), counted) in of_tally {
            let labels = &[kind.as_str(), label.as_str()][..metric.labels.len()];
            match tally {
                Tally::JobsEnded => samples.count(labels, counted.count),
                _ => samples.histogram(labels, scaled(tally, counted, &bounds(tally))),
            }
        }
    }
}

/// What a tally's unit is to the metric's.
fn unit(tally: Tally) -> f64 {
    match tally {
        Tally::BackupRead | Tally::BackupStored | Tally::JobsEnded => 1.0,
        Tally::JobDuration | Tally::JobWait | Tally::SubTaskDuration | Tally::GuestFreeze => MICROS,
    }
}

fn bounds(tally: Tally) -> Vec<f64> {
    let bounds = tally.bounds().iter();
    bounds.map(|bound| *bound as f64 / unit(tally)).collect()
}

fn scaled<'a>(tally: Tally, counted: &'a Counted, bounds: &'a [f64]) -> Histogram<'a> {
    Histogram {
        bounds,
        up_to: &counted.up_to,
        count: counted.count,
        sum: counted.sum as f64 / unit(tally),
    }
}

async fn vaults(state: &ApiState, page: &mut Page) -> Answer<()> {
    let (mut verified, mut jobs) = (Vec::new(), Vec::new());
    for vault in state.catalog.vaults().await? {
        let at = state.catalog.last_verified(vault.id).await?;
        verified.extend(at.map(|at| (vault.name.clone(), at)));
        for kind in VAULT_JOBS {
            let at = state.catalog.last_completed(&vault.name, kind).await?;
            jobs.extend(at.map(|at| (vault.name.clone(), kind, at)));
        }
    }
    let mut samples = page.metric(VAULT_VERIFIED);
    for (vault, at) in verified {
        samples.value(&[&vault], seconds(at));
    }
    let mut samples = page.metric(VAULT_JOB);
    for (vault, kind, at) in jobs {
        samples.value(&[&vault, kind], seconds(at));
    }
    Ok(())
}

async fn hosts(state: &ApiState, page: &mut Page) -> Answer<()> {
    let mut samples = page.metric(HOST_SEEN);
    for host in state.catalog.all_hosts().await? {
        if let Some(at) = host.last_seen {
            samples.value(&[&host.name], seconds(at));
        }
    }
    Ok(())
}

async fn channels(state: &ApiState, page: &mut Page) -> Answer<()> {
    let mut samples = page.metric(WAITING);
    for (channel, number) in state.catalog.waiting_notifications().await? {
        samples.count(&[&channel], number);
    }
    let mut samples = page.metric(FAILING);
    for channel in state.catalog.channels().await? {
        samples.count(&[&channel.name], channel.failing_since.is_some().into());
    }
    Ok(())
}

fn seconds(at: Timestamp) -> f64 {
    at.as_millisecond() as f64 / 1e3
}
