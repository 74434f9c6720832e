//! What retention does to a vault: made from the vault and a request, named by a hash of both.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};
use tresor_model::{PointId, VaultId, VmId};
use tresor_policy::{
    Decision, KeepReason, Point, RemoveReason, Rules, Verdict, decide, let_go, parse_duration,
};
use tresor_problem::{Kind, Problem};
use tresor_vault::PointList;

/// What was asked for. With the state of the vault it makes the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The vault.
    pub vault: VaultId,
    /// The VMs, each with its rules.
    pub rules: BTreeMap<VmId, Rules>,
    /// VMs whose data nobody wants any more, whatever the rules.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub unwanted: BTreeSet<VmId>,
    /// Name of the time zone.
    pub zone: String,
    /// For how long deletions can be taken back.
    pub grace: String,
}

/// What is to be done.
#[derive(Debug)]
pub struct Plan {
    /// A hash of the request, of what the vault holds, and of the decisions.
    pub id: String,
    /// What was asked for.
    pub request: Request,
    /// By VM, newest point first.
    pub decisions: Vec<Decision>,
}

impl Plan {
    /// The decisions at `now`. Points that have lost something count for nothing.
    ///
    /// # Errors
    /// A usage error for a zone or a rule that makes no sense.
    pub fn make(
        request: Request,
        list: &PointList,
        lost: &BTreeSet<PointId>,
        now: Timestamp,
    ) -> Result<Self, Problem> {
        let zone = TimeZone::get(&request.zone)
            .map_err(|error| usage(format!("No such time zone: {error}.")))?;
        let points = points(&request, list, lost);
        let of_unwanted = |point: &Point| request.unwanted.contains(&point.vm);
        let (unwanted, wanted): (Vec<_>, Vec<_>) = points.iter().cloned().partition(of_unwanted);
        let mut decisions = decide(&wanted, &request.rules, &zone, now)
            .map_err(|error| usage(error.to_string()))?;
        decisions.extend(let_go(&unwanted, now));
        let whole = serde_json::to_vec(&(&request, &points, &decisions));
        let whole = whole.map_err(|error| {
            Problem::from(Kind::Internal {
                what: error.to_string(),
            })
        })?;
        let id = blake3::hash(&whole).to_hex()[..16].to_owned();
        Ok(Self {
            id,
            request,
            decisions,
        })
    }

    /// The points that go, and whether for good.
    #[must_use]
    pub fn removals(&self) -> Vec<(PointId, bool)> {
        let removed = self.decisions.iter().filter_map(|decision| {
            let Verdict::Remove(reason) = &decision.verdict else {
                return None;
            };
            let for_good = matches!(reason, RemoveReason::GraceOver { .. });
            Some((decision.point, for_good))
        });
        removed.collect()
    }

    /// The points for whose sake others of their VM go: they must be whole.
    #[must_use]
    pub fn relied_on(&self) -> Vec<PointId> {
        let superseded: BTreeSet<VmId> = self
            .decisions
            .iter()
            .filter(|decision| {
                matches!(&decision.verdict, Verdict::Remove(reason)
                    if !matches!(reason, RemoveReason::GraceOver { .. }))
            })
            .map(|decision| decision.vm)
            .collect();
        let newest = self.decisions.iter().filter(|decision| {
            matches!(&decision.verdict, Verdict::Keep(reasons)
                if reasons.contains(&KeepReason::Newest))
        });
        newest
            .filter(|decision| superseded.contains(&decision.vm))
            .map(|decision| decision.point)
            .collect()
    }
}

/// The points of the VMs that are asked for, deleted ones too.
fn points(request: &Request, list: &PointList, lost: &BTreeSet<PointId>) -> Vec<Point> {
    let all = list.points.iter().chain(&list.deleted);
    let wanted = all.filter(|point| {
        // Anybody can say that a point of his is an installation's database: it would take the place of one.
        let is_forged = point.vm.is_database() && list.others.contains(&point.id);
        !is_forged
            && (request.rules.contains_key(&point.vm) || request.unwanted.contains(&point.vm))
    });
    let mut points: Vec<_> = wanted
        .map(|point| {
            let marks = list.marks.get(&point.id).copied().unwrap_or_default();
            Point {
                id: point.id,
                vm: point.vm,
                sequence: point.sequence,
                taken_at: point.taken_at,
                // Nobody knows what holds a point whose marks cannot be read.
                readable: !marks.unclear && !lost.contains(&point.id),
                pinned: marks.pinned,
                immutable_until: marks.immutable_until,
                deleted: marks.deleted.map(|deletion| tresor_policy::Deletion {
                    at: deletion.at,
                    until: deletion.until,
                }),
            }
        })
        .collect();
    points.sort_by_key(|point| point.id);
    points
}

/// The grace of a deletion; months and years begin today.
///
/// # Errors
/// A usage error when the text is no duration.
pub fn grace(text: &str) -> Result<SignedDuration, Problem> {
    let span = parse_duration(text).map_err(|error| usage(error.to_string()))?;
    let now = jiff::Zoned::now();
    let end = now.checked_add(span);
    let end = end.map_err(|error| usage(error.to_string()))?;
    Ok(end.timestamp().duration_since(now.timestamp()))
}

fn usage(what: String) -> Problem {
    Kind::UsageError { what }.into()
}
