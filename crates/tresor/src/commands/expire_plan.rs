//! The plan of `tresor expire`: made from the vault and a request, named by a hash of both, kept in
//! the state directory so that exactly it can be applied.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};
use tresor_host::usage;
use tresor_model::{PointId, VaultId, VmId};
use tresor_policy::{Decision, KeepReason, Point, RemoveReason, Rules, Verdict, decide};
use tresor_problem::{Kind, Problem};
use tresor_vault::PointList;

use tresor_host::StateDir;

/// What was asked for. With the state of the vault it makes the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Request {
    /// The vault.
    pub(crate) vault: VaultId,
    /// The VMs, each with its rules.
    pub(crate) rules: BTreeMap<VmId, Rules>,
    /// Name of the time zone.
    pub(crate) zone: String,
    /// For how long deletions can be taken back.
    pub(crate) grace: String,
}

/// What is to be done.
#[derive(Debug)]
pub(crate) struct Plan {
    /// A hash of the request, of what the vault holds, and of the decisions.
    pub(crate) id: String,
    pub(crate) request: Request,
    /// By VM, newest point first.
    pub(crate) decisions: Vec<Decision>,
}

impl Plan {
    /// The decisions at `now`. Points that have lost something count for nothing.
    pub(crate) fn make(
        request: Request,
        list: &PointList,
        lost: &BTreeSet<PointId>,
        now: Timestamp,
    ) -> Result<Self, Problem> {
        let zone = TimeZone::get(&request.zone)
            .map_err(|error| usage(&format!("No such time zone: {error}.")))?;
        let points = points(&request, list, lost);
        let decisions = decide(&points, &request.rules, &zone, now)
            .map_err(|error| usage(&error.to_string()))?;
        let whole = serde_json::to_vec(&(&request, &points, &decisions));
        let whole = whole.map_err(|error| tresor_host::internal(error.to_string()))?;
        let id = blake3::hash(&whole).to_hex()[..16].to_owned();
        Ok(Self {
            id,
            request,
            decisions,
        })
    }

    /// The points that go, and whether for good.
    pub(crate) fn removals(&self) -> Vec<(PointId, bool)> {
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
    pub(crate) fn relied_on(&self) -> Vec<PointId> {
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

    /// Notes what was asked for under the plan's id.
    pub(crate) fn keep(&self, state: &StateDir) -> Result<(), Problem> {
        let path = path(state, &self.id);
        let write = || {
            std::fs::create_dir_all(state.plans())?;
            std::fs::write(&path, serde_json::to_vec(&self.request)?)
        };
        write().map_err(|error| unusable(&path, &error))
    }
}

/// What was asked for when a plan was made.
pub(crate) fn recall(state: &StateDir, id: &str) -> Result<Request, Problem> {
    let unknown = || {
        Problem::from(Kind::PlanUnknown {
            plan: id.to_owned(),
        })
    };
    if !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(unknown());
    }
    let path = path(state, id);
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(unknown()),
        Err(error) => return Err(unusable(&path, &error)),
    };
    serde_json::from_slice(&text).map_err(|error| unusable(&path, &error.into()))
}

fn path(state: &StateDir, id: &str) -> PathBuf {
    state.plans().join(format!("{id}.json"))
}

fn unusable(path: &std::path::Path, error: &std::io::Error) -> Problem {
    let kind = Kind::StateUnusable {
        path: path.display().to_string(),
        reason: error.to_string(),
    };
    Problem::caused_by(kind, error)
}

/// The points of the VMs that are asked for, deleted ones too.
fn points(request: &Request, list: &PointList, lost: &BTreeSet<PointId>) -> Vec<Point> {
    let all = list.points.iter().chain(&list.deleted);
    let wanted = all.filter(|point| request.rules.contains_key(&point.vm));
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
