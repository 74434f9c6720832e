//! Reading the plans of collect: docs/format/plan.md.
//!
//! # Invariants
//! A plan is in effect from its claim to its done mark. Only the newest can be: a claim is put when
//! the plan before is done.

use std::collections::BTreeSet;

use tresor_model::SessionId;
use tresor_vault_format::limits::{PLAN_LIMIT, SMALL_OBJECT};
use tresor_vault_format::name::PlanObject;
use tresor_vault_format::{Plan, PlanClaim, name};

use crate::error::{Error, ErrorKind, Result};
use crate::vault::Inner;

/// How often plans are listed again when one was removed between a list and a read.
const TRIES: u32 = 5;

/// What lies below `plans/`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PlanNames {
    pub(crate) claims: BTreeSet<u32>,
    pub(crate) plans: BTreeSet<(u32, SessionId)>,
    pub(crate) verdicts: BTreeSet<u32>,
    pub(crate) done: BTreeSet<u32>,
}

impl PlanNames {
    /// # Errors
    /// [`ErrorKind::VersionUnknown`] when there is something that this program does not know: it
    /// could forbid what this program is about to do.
    pub(crate) async fn list(vault: &Inner) -> Result<Self> {
        let mut names = Self::default();
        for meta in vault.store.list(name::PLANS).await? {
            let object = meta.name.as_str();
            match name::parse_plan_object(object) {
                Some(PlanObject::Claim(number)) => names.claims.insert(number),
                Some(PlanObject::Plan(number, collector)) => {
                    names.plans.insert((number, collector))
                }
                Some(PlanObject::Verdict(number)) => names.verdicts.insert(number),
                Some(PlanObject::Done(number)) => names.done.insert(number),
                None => {
                    let object = object.to_owned();
                    return Err(Error::new(ErrorKind::VersionUnknown { object, found: 2 }));
                }
            };
        }
        Ok(names)
    }

    /// The highest number that was given.
    pub(crate) fn newest(&self) -> Option<u32> {
        self.claims.last().copied()
    }

    /// The number that comes next.
    pub(crate) fn next(&self) -> u32 {
        self.newest().map_or(1, |newest| newest.saturating_add(1))
    }

    /// The plan that is in effect.
    pub(crate) fn in_effect(&self) -> Option<u32> {
        self.newest().filter(|newest| !self.done.contains(newest))
    }
}

/// The plan that is in effect now.
pub(crate) async fn in_effect(vault: &Inner) -> Result<Option<Plan>> {
    let mut tries = 1;
    loop {
        let Some(number) = PlanNames::list(vault).await?.in_effect() else {
            return Ok(None);
        };
        match claimed(vault, number).await {
            Ok(plan) => return Ok(Some(plan)),
            // It was done meanwhile, and removed after the next one.
            Err(error) if error.is_gone() && tries < TRIES => tries += 1,
            Err(error) => return Err(error),
        }
    }
}

/// The plan that has this number.
pub(crate) async fn claimed(vault: &Inner, number: u32) -> Result<Plan> {
    let claim = read_claim(vault, number).await?;
    let object = name::plan(number, claim.collector);
    let bytes = vault.store.get(&object, PLAN_LIMIT).await?;
    if *blake3::hash(&bytes).as_bytes() != claim.plan {
        return Err(Error::damaged(object, "it is not what was claimed"));
    }
    decode(vault, number, claim.collector, &bytes)
}

pub(crate) async fn read_claim(vault: &Inner, number: u32) -> Result<PlanClaim> {
    let object = name::plan_claim(number);
    let bytes = vault.store.get(&object, SMALL_OBJECT).await?;
    let claim = PlanClaim::decode(&bytes).map_err(|error| Error::format(&object, error))?;
    if claim.vault == vault.id && claim.number == number {
        Ok(claim)
    } else {
        Err(Error::damaged(object, "it is another claim"))
    }
}

/// A plan, claimed or not; `None` when it is gone.
pub(crate) async fn read_plan(
    vault: &Inner,
    number: u32,
    collector: SessionId,
) -> Result<Option<Plan>> {
    let object = name::plan(number, collector);
    match vault.store.find(&object, PLAN_LIMIT).await? {
        Some(bytes) => decode(vault, number, collector, &bytes).map(Some),
        None => Ok(None),
    }
}

fn decode(vault: &Inner, number: u32, collector: SessionId, bytes: &[u8]) -> Result<Plan> {
    let object = name::plan(number, collector);
    let plan = Plan::decode(bytes).map_err(|error| Error::format(&object, error))?;
    if plan.vault == vault.id && plan.number == number && plan.collector == collector {
        Ok(plan)
    } else {
        Err(Error::damaged(object, "it is another plan"))
    }
}
