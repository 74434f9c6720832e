//! From the claim to the done mark: steps 6 to 13. Whoever finds a plan in effect does this.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use jiff::Timestamp;
use tresor_model::SessionId;
use tresor_vault_format::limits::{PLAN_LIMIT, SMALL_OBJECT};
use tresor_vault_format::{PackId, Plan, PlanDone, PlanVerdict, SessionBegin, name};

use super::propose::{list_packs, put_small};
use super::walk::Walk;
use super::{CollectOptions, CollectStep, Collected, index, sessions};
use crate::error::{Error, Result};
use crate::plans::{self, PlanNames};
use crate::points::{Standing, read_record};
use crate::session::{Ended, PlantedBug, abort};
use crate::store::PutOutcome;
use crate::vault::Inner;

/// Pauses between looks at sessions that are waited for.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Finishes a plan; what waits is in the answer.
pub(super) async fn finish(
    vault: &Arc<Inner>,
    number: u32,
    options: &CollectOptions,
    progress: &(impl Fn(CollectStep) + Send + Sync),
) -> Result<Collected> {
    let mut done = Collected {
        number,
        ..Collected::default()
    };
    // A claim that was only seen could be gone after a power cut, and its number free.
    vault.store.settle(name::PLANS).await?;
    let plan = match plans::claimed(vault, number).await {
        Ok(plan) => plan,
        Err(error) if error.is_gone() && !is_in_effect(vault, number).await? => return Ok(done),
        Err(error) => return Err(error),
    };
    wait(vault, options, progress, &mut done).await?;
    if !done.waiting.is_empty() {
        return Ok(done);
    }
    let Some(verdict) = decide(vault, options, &plan).await? else {
        return Ok(done);
    };
    let struck: BTreeSet<PackId> = verdict.struck.iter().copied().collect();
    done.struck_packs = struck.len() as u64;
    let condemned = plan.condemned.iter().filter(|pack| !struck.contains(pack));
    let condemned: Vec<PackId> = condemned.copied().collect();
    if options.protocol().has(PlantedBug::UnmarksFirst) {
        sessions::unmark(vault, &plan).await?;
    }
    delete_packs(vault, &condemned, progress, &mut done).await?;
    index::consolidate(vault, &condemned).await?;
    sessions::clear(vault, &plan, options.protocol()).await?;
    put_done(vault, &plan, &verdict).await?;
    Ok(done)
}

async fn is_in_effect(vault: &Inner, number: u32) -> Result<bool> {
    Ok(PlanNames::list(vault).await?.in_effect() == Some(number))
}

/// Step 6: until all sessions that are open now have ended, or the caller's patience has.
async fn wait(
    vault: &Inner,
    options: &CollectOptions,
    progress: &(impl Fn(CollectStep) + Send + Sync),
    done: &mut Collected,
) -> Result<()> {
    let protocol = options.protocol();
    if protocol.has(PlantedBug::NoSecondList) {
        return Ok(());
    }
    // Sessions that begin later know of the plan.
    let mut open = Standing::list(vault).await?.open();
    let mut waited = Duration::ZERO;
    loop {
        let mut waiting = Vec::new();
        for session in open {
            let old = age_of(vault, session)
                .await?
                .is_some_and(|age| age >= options.margin);
            match old {
                true if protocol.has(PlantedBug::TrustsClock) => {}
                true => {
                    if abort(vault, session).await? == Ended::AbortedNow {
                        tracing::info!(%session, "a session that has not ended was aborted");
                        done.aborted.push(session);
                    }
                }
                false => waiting.push(session),
            }
        }
        done.waiting = waiting;
        if done.waiting.is_empty() || waited >= options.wait {
            return Ok(());
        }
        let sessions = done.waiting.clone();
        progress(CollectStep::Waits { sessions });
        tokio::time::sleep(LOOK_AGAIN).await;
        waited = waited.saturating_add(LOOK_AGAIN);
        let still_open = Standing::list(vault).await?.open();
        open = done
            .waiting
            .iter()
            .filter(|session| still_open.contains(session))
            .copied()
            .collect();
    }
}

/// How long ago a session began, by its writer's clock and ours; for ever when its begin object is
/// damaged. `None` when it is not there any more: somebody else has ended it.
async fn age_of(vault: &Inner, session: SessionId) -> Result<Option<Duration>> {
    let object = name::session_begin(session);
    let Some(bytes) = vault.store.find(&object, SMALL_OBJECT).await? else {
        return Ok(None);
    };
    let Ok(begin) = SessionBegin::decode(&bytes) else {
        return Ok(Some(Duration::MAX));
    };
    let age = Timestamp::now()
        .as_millisecond()
        .saturating_sub(begin.started_ms);
    let age = u64::try_from(age).unwrap_or(0);
    Ok(Some(Duration::from_millis(age)))
}

/// Steps 7 to 9: which condemned packs stay. `None` when the plan is over.
async fn decide(
    vault: &Arc<Inner>,
    options: &CollectOptions,
    plan: &Plan,
) -> Result<Option<PlanVerdict>> {
    let object = name::plan_verdict(plan.number);
    let verdict = match read_verdict(vault, plan.number).await? {
        // Seen only: `put` vouches for it below.
        Some(verdict) => verdict,
        None => strike(vault, options, plan).await?,
    };
    let body = Bytes::from(verdict.encode());
    let verdict = match put_small(vault, &object, body).await? {
        PutOutcome::Stored => verdict,
        PutOutcome::NameTaken => match read_verdict(vault, plan.number).await? {
            Some(verdict) => verdict,
            None => return Ok(None),
        },
    };
    let newest = PlanNames::list(vault).await?.newest();
    Ok((newest == Some(plan.number)).then_some(verdict))
}

async fn read_verdict(vault: &Inner, number: u32) -> Result<Option<PlanVerdict>> {
    let object = name::plan_verdict(number);
    let Some(bytes) = vault.store.find(&object, PLAN_LIMIT).await? else {
        return Ok(None);
    };
    let verdict = PlanVerdict::decode(&bytes).map_err(|error| Error::format(&object, error))?;
    if verdict.vault == vault.id && verdict.number == number {
        Ok(Some(verdict))
    } else {
        Err(Error::damaged(object, "it is another verdict"))
    }
}

/// Step 7: what points need that the plan does not know.
async fn strike(vault: &Arc<Inner>, options: &CollectOptions, plan: &Plan) -> Result<PlanVerdict> {
    let standing = Standing::list(vault).await?;
    vault.store.settle(name::SESSIONS).await?;
    if !options.protocol().has(PlantedBug::UnsettledMarks) {
        vault.store.settle(name::EXPIRED).await?;
    }
    let listed: HashMap<PackId, u64> = list_packs(vault).await?;
    let mut walk = Walk::new(vault, &listed, plan.number);
    for session in standing.ended.intersection(&standing.begun) {
        let may_go = standing.may_go.contains(session);
        let settled = plan.walked.binary_search(session).is_ok()
            || (may_go && plan.dropped.binary_search(session).is_ok());
        if settled || options.protocol().has(PlantedBug::NothingStruckOff) {
            continue;
        }
        let walked = match read_record(vault, *session).await {
            Ok(Some(point)) => walk.point(&point).await,
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        match walked {
            // Others may have built on an expired point, but not on what cannot be read.
            Err(error) if may_go && error.object_and_reason().is_some() => {
                tracing::warn!(%session, %error, "an expired point is damaged");
            }
            walked => walked?,
        }
    }
    let mut struck: Vec<PackId> = walk.live.packs().copied().collect();
    struck.retain(|pack| plan.condemned.binary_search(pack).is_ok());
    struck.sort_unstable();
    Ok(PlanVerdict {
        vault: vault.id,
        number: plan.number,
        keep_older: walk.needs_older,
        struck,
    })
}

/// Step 10.
async fn delete_packs(
    vault: &Inner,
    condemned: &[PackId],
    progress: &(impl Fn(CollectStep) + Send + Sync),
    done: &mut Collected,
) -> Result<()> {
    let listed = list_packs(vault).await?;
    let there: Vec<(PackId, u64)> = condemned
        .iter()
        .filter_map(|pack| Some((*pack, *listed.get(pack)?)))
        .collect();
    let total = there.len() as u64;
    let mut deletes = stream::iter(there)
        .map(async |(pack, size)| {
            let deleted = vault.store.delete(&name::pack(&pack)).await;
            deleted.map(|()| size)
        })
        .buffer_unordered(vault.store.parallelism());
    while let Some(deleted) = deletes.next().await {
        done.deleted_bytes += deleted?;
        done.deleted_packs += 1;
        let done = done.deleted_packs;
        progress(CollectStep::Deletes { done, total });
    }
    Ok(())
}

/// Step 13.
async fn put_done(vault: &Inner, plan: &Plan, verdict: &PlanVerdict) -> Result<()> {
    let mark = PlanDone {
        vault: vault.id,
        number: plan.number,
        done_ms: Timestamp::now().as_millisecond(),
    };
    let object = name::plan_done(plan.number);
    // Who was faster marked the same.
    put_small(vault, &object, Bytes::from(mark.encode())).await?;
    let names = PlanNames::list(vault).await?;
    let over = |number: u32| number < plan.number;
    let mut old = Vec::new();
    for (number, collector) in &names.plans {
        let lost = *number == plan.number && *collector != plan.collector;
        if lost || (over(*number) && !verdict.keep_older) {
            old.push(name::plan(*number, *collector));
        }
    }
    let verdicts = names.verdicts.iter().filter(|number| over(**number));
    old.extend(verdicts.map(|number| name::plan_verdict(*number)));
    let marks = names.done.iter().filter(|number| over(**number));
    old.extend(marks.map(|number| name::plan_done(*number)));
    for object in old {
        vault.store.delete(&object).await?;
    }
    Ok(())
}
