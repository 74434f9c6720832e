//! Looking after vaults: what retention does not keep goes, its space is freed, and what is stored is read
//! back, without anybody asking.
//!
//! Only queues: jobs of the local lane do it, wherever the vault can be reached. A run that failed or was missed is made up for by the next.

use jiff::{SignedDuration, Timestamp};
use tresor_catalog::{Catalog, VaultRecord};
use tresor_jobs::{JobFilter, JobHeader, JobLog as _, JobQueue as _, NewJob, Ticket};
use tresor_model::{JobId, JobKind, JobState, VerifyShare};
use tresor_workflows::{
    Cause, collect, database, expire,
    verify::{VerifyOrder, VerifyWhat},
};

use crate::{LOCAL_LANE, ServiceOptions, ended::was_stopped, retention::Keepers, turn::TurnError};

const EXPIRE_EVERY: SignedDuration = SignedDuration::from_hours(1);
const COLLECT_EVERY: SignedDuration = SignedDuration::from_hours(24);
const VERIFY_EVERY: SignedDuration = SignedDuration::from_hours(24);
const DATABASE_EVERY: SignedDuration = SignedDuration::from_hours(24);
/// For so long it is known which host began which session: no session takes as long.
const SESSIONS_KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);
/// After a failure; it doubles with each.
const RETRY: SignedDuration = SignedDuration::from_mins(1);
/// Of a vault that has no share of its own: each byte once in 40 days.
const VERIFY_MILLIONTHS: u64 = 25_000;
/// Where a job of the vault's upkeep stands in its lane: after backups.
const UPKEEP_RANK: i64 = 10;
/// So many jobs that somebody asked for may lie between two that come by themselves.
const LOOKED_AT: u32 = 50;

/// Queues what is due for each vault.
pub(crate) async fn look_after_vaults(
    catalog: &Catalog,
    options: &ServiceOptions,
) -> Result<(), TurnError> {
    let now = Timestamp::now();
    forget_sessions(catalog, now).await?;
    let keepers = Keepers::read(catalog).await?;
    for vault in catalog.vaults().await? {
        let job = JobId::generate();
        if options.database_backup
            && is_due(catalog, &vault, JobKind::Catalog, DATABASE_EVERY, now).await?
        {
            let plan = database::plan(job, &vault.name, vault.id);
            enqueue(catalog, &plan.new_job(now)).await?;
        }
        let job = JobId::generate();
        if let Some(request) = keepers.request(&vault, &options.zone)
            && is_due(catalog, &vault, JobKind::Expire, EXPIRE_EVERY, now).await?
        {
            let plan = expire::plan(job, &vault.name, &request);
            enqueue(catalog, &plan.new_job(now)).await?;
        }
        let job = JobId::generate();
        if is_due(catalog, &vault, JobKind::Collect, COLLECT_EVERY, now).await? {
            let plan = collect::plan(job, &vault.name, vault.id);
            enqueue(catalog, &plan.new_job(now)).await?;
        }
        let job = JobId::generate();
        if is_due(catalog, &vault, JobKind::Verify, VERIFY_EVERY, now).await?
            && let Some(order) = share_of(&vault)
        {
            enqueue(catalog, &order.new_job(job, now)).await?;
        }
    }
    Ok(())
}

/// Whose sessions of vaults were whose, a week after they began: they have ended by then. The index makes it
/// cheap to find that there is nothing to do.
async fn forget_sessions(catalog: &Catalog, now: Timestamp) -> Result<(), TurnError> {
    let before = now.saturating_sub(SESSIONS_KEPT).unwrap_or(Timestamp::MIN);
    let forgotten = catalog.forget_sessions_before(before).await?;
    if forgotten > 0 {
        tracing::debug!(forgotten, "sessions of hosts are over");
    }
    Ok(())
}

/// The part of a vault that is read back each day: what waits longest.
fn share_of(vault: &VaultRecord) -> Option<VerifyOrder> {
    let usual = || VerifyShare::from_millionths(VERIFY_MILLIONTHS).ok();
    let share = vault.verify_share.or_else(usual)?;
    let mut order = VerifyOrder::new(&vault.name, VerifyWhat::Share { share });
    order.cause = Cause::Routine;
    Some(order)
}

async fn enqueue(catalog: &Catalog, job: &NewJob) -> Result<(), TurnError> {
    let ticket = Ticket {
        lane: LOCAL_LANE.to_owned(),
        not_before: job.created_at,
        rank: UPKEEP_RANK,
    };
    Ok(catalog.enqueue(job, &ticket).await?)
}

/// Whether it is time.
async fn is_due(
    catalog: &Catalog,
    vault: &VaultRecord,
    kind: JobKind,
    every: SignedDuration,
    now: Timestamp,
) -> Result<bool, TurnError> {
    let filter = JobFilter {
        subject: Some(vault.name.clone()),
        kind: Some(kind),
        limit: Some(LOOKED_AT),
        ..JobFilter::default()
    };
    let mut jobs = catalog.list(&filter).await?;
    // One that a program took back because it was told to stop is made up for.
    jobs.retain(|header| does_all(header) && !was_stopped(header));
    let ends: Vec<_> = jobs
        .iter()
        .map(|header| (header.state, header.job.created_at))
        .collect();
    Ok(is_time(&ends, every, now))
}

/// Whether the next job is to begin: `every` so often, and sooner after one that failed. `last` are those
/// before, newest first.
fn is_time(last: &[(JobState, Timestamp)], every: SignedDuration, now: Timestamp) -> bool {
    let Some((state, made)) = last.first() else {
        return true;
    };
    let failed = last
        .iter()
        .take_while(|(state, _)| *state == JobState::Failed);
    let pause = match u32::try_from(failed.count()).unwrap_or(u32::MAX) {
        0 => every,
        failed => every.min(RETRY * 2_i32.saturating_pow((failed - 1).min(16))),
    };
    state.is_final() && now.duration_since(*made) >= pause
}

/// Whether a job stands for one that comes by itself: a verification that somebody asked for may have
/// read one point of a VM.
fn does_all(header: &JobHeader) -> bool {
    header.job.kind != JobKind::Verify
        || VerifyOrder::of_params(&header.job.params)
            .is_ok_and(|order| order.cause == Cause::Routine)
}

#[cfg(test)]
mod tests {
    use tresor_model::SessionId;

    use super::*;

    #[test]
    fn the_vaults_own_share_is_read_else_the_usual_one() {
        let mut vault = VaultRecord {
            name: "main".to_owned(),
            id: tresor_model::VaultId::generate(),
            location: "/srv/vault".to_owned(),
            key_source: "file:/x".to_owned(),
            created_at: Timestamp::UNIX_EPOCH,
            settings: None,
            verify_share: None,
        };
        let read = |vault: &VaultRecord| match share_of(vault).map(|order| order.what) {
            Some(VerifyWhat::Share { share }) => share.to_string(),
            other => panic!("{other:?}"),
        };
        assert_eq!(read(&vault), "2.5%");
        vault.verify_share = Some("7%".parse().unwrap());
        assert_eq!(read(&vault), "7%");
    }

    #[tokio::test]
    async fn sessions_of_hosts_are_forgotten_after_a_week() {
        let dir = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(&dir.path().join("catalog.db")).await.unwrap();
        let vault = tresor_model::VaultId::generate();
        let (old, new) = (SessionId::generate(), SessionId::generate());
        let now = Timestamp::now();
        for (session, days) in [(old, 8), (new, 6)] {
            let begun = now - SignedDuration::from_hours(24 * days);
            let claimed = catalog.claim_session(vault, session, "host", begun).await;
            assert!(claimed.unwrap());
        }
        look_after_vaults(&catalog, &ServiceOptions::new("one", None))
            .await
            .unwrap();
        let owners = catalog.session_owners(vault, &[old, new]).await.unwrap();
        assert_eq!(owners, [None, Some("host".to_owned())]);
    }

    #[test]
    fn what_failed_is_tried_again_soon_and_then_less_often() {
        let every = SignedDuration::from_hours(24);
        let at = |minutes| Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minutes);
        let (done, failed) = (JobState::Completed, JobState::Failed);
        let day = 24 * 60;
        for (last, now, due) in [
            (vec![], 0, true),
            (vec![(done, at(0))], day - 1, false),
            (vec![(done, at(0))], day, true),
            (vec![(JobState::InProgress, at(0))], 3 * day, false),
            (vec![(JobState::Queued, at(0))], 3 * day, false),
            (vec![(JobState::Cancelled, at(0))], 5, false),
            (vec![(failed, at(0)), (done, at(0))], 1, true),
            (
                vec![(failed, at(5)), (failed, at(4)), (done, at(0))],
                6,
                false,
            ),
            (
                vec![(failed, at(5)), (failed, at(4)), (done, at(0))],
                7,
                true,
            ),
            (vec![(done, at(5)), (failed, at(4))], 7, false),
            (vec![(failed, at(0)); 50], day - 1, false),
            (vec![(failed, at(0)); 50], day, true),
        ] {
            assert_eq!(is_time(&last, every, at(now)), due, "{last:?} at {now}");
        }
    }
}
