//! From the claim to the done mark: steps 6 to 13. Whoever finds a plan in effect does this.
//!
//! # Invariants
//! A plan and a verdict are nobody's word: who can only put objects could make a collector delete what
//! points need. So whoever finishes a plan that it did not make in this run walks all points itself, and
//! reads what the plan says has moved; and nobody deletes what it has found a point to need, whatever the
//! verdict says.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use jiff::Timestamp;
use tresor_model::SessionId;
use tresor_vault_format::limits::{PLAN_LIMIT, SMALL_OBJECT};
use tresor_vault_format::{PackId, Plan, PlanDone, PlanVerdict, SessionBegin, name};

use super::propose::put_small;
use super::walk::Walk;
use super::{CollectOptions, CollectStep, Collected, clear, index};
use crate::error::{Error, Result};
use crate::known::list_packs;
use crate::plans::{self, PlanNames};
use crate::record;
use crate::roster::{self, Roster};
use crate::session::{Ended, PlantedBug, abort};
use crate::store::PutOutcome;
use crate::vault::Inner;

/// Pauses between looks at sessions that are waited for.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Whose plan it is that is finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Made {
    /// This collector's, in this run.
    Here,
    /// Somebody's.
    Elsewhere,
}

/// Finishes a plan; what waits is in the answer.
pub(super) async fn finish(
    vault: &Arc<Inner>,
    (number, made): (u32, Made),
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
    let Some((verdict, cleared)) = decide(vault, options, &plan, made).await? else {
        return Ok(done);
    };
    let struck: BTreeSet<PackId> = verdict.struck.iter().copied().collect();
    done.struck_packs = struck.len() as u64;
    let condemned = plan.condemned.iter().filter(|pack| !struck.contains(pack));
    let mut condemned: Vec<PackId> = condemned.copied().collect();
    if options.protocol().has(PlantedBug::UnmarksFirst) {
        clear::unmark_all(vault, &plan).await?;
    }
    let held = delete_packs(vault, &condemned, progress, &mut done).await?;
    // The next plan condemns them again.
    condemned.retain(|pack| !held.contains(pack));
    clear::forget_damage(vault, &condemned).await?;
    index::consolidate(vault, &condemned).await?;
    clear::clear(vault, &cleared, options.protocol()).await?;
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
    let mut open = Roster::list(vault).await?.open();
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
        let still_open = Roster::list(vault).await?.open();
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

/// Steps 7 to 9: which condemned packs stay, by the verdict that counts and by what was found here, and
/// the sessions that are cleared away. `None` when the plan is over.
async fn decide(
    vault: &Arc<Inner>,
    options: &CollectOptions,
    plan: &Plan,
    made: Made,
) -> Result<Option<(PlanVerdict, BTreeSet<SessionId>)>> {
    let object = name::plan_verdict(plan.number);
    let seen = read_verdict(vault, plan.number).await?;
    let (own, cleared) = strike(vault, options, plan, (made, seen.is_some())).await?;
    // One that was only seen: `put` vouches for it.
    let body = Bytes::from(seen.as_ref().unwrap_or(&own).encode());
    let verdict = match put_small(vault, &object, body).await? {
        PutOutcome::Stored => seen.unwrap_or_else(|| own.clone()),
        PutOutcome::NameTaken => match read_verdict(vault, plan.number).await? {
            Some(verdict) => verdict,
            None => return Ok(None),
        },
    };
    let newest = PlanNames::list(vault).await?.newest();
    Ok((newest == Some(plan.number)).then(|| (both(verdict, own), cleared)))
}

/// What stays by either of them.
fn both(verdict: PlanVerdict, own: PlanVerdict) -> PlanVerdict {
    let mut struck: Vec<PackId> = verdict.struck.into_iter().chain(own.struck).collect();
    struck.sort_unstable();
    struck.dedup();
    PlanVerdict {
        keep_older: verdict.keep_older || own.keep_older,
        struck,
        ..own
    }
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

/// Step 7: what points need that the plan does not know, and the sessions that nobody wants after all.
async fn strike(
    vault: &Arc<Inner>,
    options: &CollectOptions,
    plan: &Plan,
    (made, is_decided): (Made, bool),
) -> Result<(PlanVerdict, BTreeSet<SessionId>)> {
    let protocol = options.protocol();
    let made = match protocol.has(PlantedBug::ClaimsBeforeMoved) {
        true => Made::Here,
        false => made,
    };
    let roster = Roster::judged(vault).await?;
    if !protocol.has(PlantedBug::UnsettledMarks) {
        roster::settle(vault).await?;
    }
    let listed: HashMap<PackId, u64> = list_packs(vault).await?;
    let mut walk = Walk::begin(vault, &listed, plan.number).await?;
    if made == Made::Elsewhere {
        walk.doubt(plan);
    }
    let mut cleared: BTreeSet<SessionId> = plan.dropped.iter().copied().collect();
    cleared.retain(|session| !roster.begun.contains(session) && !roster.ended.contains(session));
    for session in &roster.ended {
        let of_plan = |list: &[SessionId]| list.binary_search(session).is_ok();
        let (may_go, dropped) = (roster.may_go.contains(session), of_plan(&plan.dropped));
        let begun = roster.begun.contains(session);
        let known = made == Made::Here && (of_plan(&plan.walked) || !begun);
        if protocol.has(PlantedBug::NothingStruckOff) || known || (may_go && dropped) {
            cleared.extend(dropped.then_some(*session));
            continue;
        }
        match walk_one(vault, *session, &mut walk).await {
            Ok(Is::Point) => {}
            Ok(Is::Aborted) => cleared.extend(dropped.then_some(*session)),
            // What a writer left that came back after its session was over.
            Err(error) if !begun && error.is_damage() => {
                cleared.extend(dropped.then_some(*session));
            }
            // Others may have built on an expired point, but not on what cannot be read.
            Err(error) if may_go && error.is_damage() => {
                tracing::warn!(%session, %error, "an expired point is damaged");
            }
            // Held by a lock that came when it had been decided that it goes.
            Err(error) if dropped && is_decided && error.is_damage() => {
                tracing::warn!(%session, %error, "a point was held too late");
            }
            Err(error) => return Err(error),
        }
    }
    let mut struck: BTreeSet<PackId> = walk.live.packs().copied().collect();
    struck.extend(&walk.marked_used);
    struck.retain(|pack| plan.condemned.binary_search(pack).is_ok());
    let verdict = PlanVerdict {
        vault: vault.id,
        number: plan.number,
        keep_older: walk.needs_older,
        struck: struck.into_iter().collect(),
    };
    Ok((verdict, cleared))
}

/// What a session that has ended is.
enum Is {
    Point,
    Aborted,
}

/// Notes all that a session's point needs.
async fn walk_one(vault: &Arc<Inner>, session: SessionId, walk: &mut Walk<'_>) -> Result<Is> {
    let Some(point) = record::read(vault, session).await? else {
        return Ok(Is::Aborted);
    };
    walk.point(&point).await?;
    // Here, so that what is wrong is known as this point's.
    walk.finish().await.map(|()| Is::Point)
}

/// Step 10. Gives the packs that the storage holds.
async fn delete_packs(
    vault: &Inner,
    condemned: &[PackId],
    progress: &(impl Fn(CollectStep) + Send + Sync),
    done: &mut Collected,
) -> Result<BTreeSet<PackId>> {
    let listed = list_packs(vault).await?;
    let there: Vec<(PackId, u64)> = condemned
        .iter()
        .filter_map(|pack| Some((*pack, *listed.get(pack)?)))
        .collect();
    let total = there.len() as u64;
    let mut deletes = stream::iter(there)
        .map(async |(pack, size)| {
            let deleted = vault.store.delete_unless_held(&name::pack(&pack)).await;
            deleted.map(|gone| (pack, size, gone))
        })
        .buffer_unordered(vault.store.parallelism());
    let mut held = BTreeSet::new();
    while let Some(deleted) = deletes.next().await {
        let (pack, size, gone) = deleted?;
        if !gone {
            held.insert(pack);
            continue;
        }
        done.deleted_bytes += size;
        done.deleted_packs += 1;
        let done = done.deleted_packs;
        progress(CollectStep::Deletes { done, total });
    }
    done.held_packs = held.len() as u64;
    Ok(held)
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
        vault.store.delete_unless_held(&object).await?;
    }
    Ok(())
}
