//! `tresor expire`: retention.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{IsTerminal as _, Write as _};

use jiff::{Timestamp, tz::TimeZone};
use serde::Serialize;
use serde_json::json;
use tresor_catalog::Catalog;
use tresor_host::usage;
use tresor_model::{PointId, VmId};
use tresor_policy::{Rules, Verdict};
use tresor_problem::{Kind, Problem};
use tresor_vault::{PointList, Vault};
use tresor_workflows::expire::{self, Plan, Request};

use super::{
    asked,
    expire_plan::{keep, recall},
    open,
    session::{Session, print_problem},
};
use crate::{args::ExpireArgs, output::note};

pub(super) async fn run(args: ExpireArgs, session: &Session) -> Result<(), Problem> {
    if session.is_remote()? {
        return asked::expire(session, &args).await;
    }
    let catalog = session.catalog().await?;
    let vault = open::vault(&catalog, &args.access).await?;
    let list = open::list(&vault).await?;
    let state = session.state()?;
    let request = match &args.apply {
        Some(id) => recall(&state, id)?,
        None => request(&args, &catalog, &vault, &list).await?,
    };
    if request.vault != vault.id() {
        return Err(usage(
            "The plan is one of another vault: name it with --vault.",
        ));
    }
    let plan = expire::sound_plan(request, &vault, &list, |point| {
        note(&format!(
            "warning: {point} has lost data, so older points stay for it (`tresor repair`)"
        ));
    });
    let plan = plan.await?;
    if let Some(id) = args.apply.as_ref().filter(|id| **id != plan.id) {
        let (plan, now) = (id.clone(), plan.id);
        return Err(Kind::PlanChanged { plan, now }.into());
    }
    if args.dry_run {
        keep(&plan, &state)?;
    }
    print(session, &plan, &list)?;
    // Whoever names a plan has seen it.
    let agreed = args.dry_run || args.apply.is_some() || args.yes;
    if !agreed && !plan.removals().is_empty() {
        confirm()?;
    }
    let applied = if args.dry_run {
        None
    } else {
        Some(expire::apply(&vault, &plan).await?)
    };
    summary(session, &plan, applied.as_deref())
}

/// The VMs, and what is to be kept of each.
async fn request(
    args: &ExpireArgs,
    catalog: &Catalog,
    vault: &Vault,
    list: &PointList,
) -> Result<Request, Problem> {
    let known = catalog.vms().await.map_err(|error| Problem::from(&error))?;
    let all = || list.points.iter().chain(&list.deleted);
    let mut ids: Vec<VmId> = Vec::new();
    for name in &args.vms {
        let id = known.iter().find(|vm| vm.name == *name).map(|vm| vm.id);
        let id = id.or_else(|| {
            let named = all().find(|point| point.vm_name == *name);
            named.map(|point| point.vm)
        });
        ids.push(id.ok_or_else(|| Kind::VmNotFound { vm: name.clone() })?);
    }
    if args.vms.is_empty() {
        ids.extend(all().map(|point| point.vm));
    }
    let given = args.keep.rules();
    let rules: BTreeMap<VmId, Rules> = ids
        .into_iter()
        .map(|id| {
            let stored = known.iter().find(|vm| vm.id == id);
            let stored = stored.and_then(|vm| vm.retention.clone());
            (id, given.clone().or(stored).unwrap_or_default())
        })
        .collect();
    let zone = match &args.time_zone {
        Some(zone) => zone.clone(),
        None => TimeZone::system().iana_name().unwrap_or("UTC").to_owned(),
    };
    Ok(Request {
        vault: vault.id(),
        rules,
        unwanted: BTreeSet::new(),
        zone,
        grace: args.grace.clone(),
    })
}

/// A point in the printed plan.
#[derive(Serialize)]
struct Row {
    point: PointId,
    vm: String,
    taken_at: Timestamp,
    action: &'static str,
    reason: String,
    verdict: Option<Verdict>,
}

pub(super) fn print(session: &Session, plan: &Plan, list: &PointList) -> Result<(), Problem> {
    let all: BTreeMap<PointId, _> = list
        .points
        .iter()
        .chain(&list.deleted)
        .map(|point| (point.id, point))
        .collect();
    let rows: Vec<Row> = plan
        .decisions
        .iter()
        .filter_map(|decision| {
            let point = all.get(&decision.point)?;
            let (action, reason) = match &decision.verdict {
                Verdict::Keep(reasons) => {
                    let words: Vec<_> = reasons.iter().map(ToString::to_string).collect();
                    ("keep", words.join("; "))
                }
                Verdict::Remove(reason) => ("remove", reason.to_string()),
            };
            Some(Row {
                point: decision.point,
                vm: point.vm_name.clone(),
                taken_at: point.taken_at,
                action,
                reason,
                verdict: Some(decision.verdict.clone()),
            })
        })
        .collect();
    for id in &list.unreadable {
        note(&format!(
            "keep {id}: it cannot be read, so it is left alone"
        ));
    }
    session
        .output
        .list(
            "expire_decision",
            &["point", "VM", "taken at", "", "why"],
            &rows,
            |row| {
                vec![
                    row.point.to_string(),
                    row.vm.clone(),
                    row.taken_at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
                    row.action.to_owned(),
                    row.reason.clone(),
                ]
            },
            "there are no recovery points",
        )
        .map_err(print_problem)
}

pub(super) fn confirm() -> Result<(), Problem> {
    if !std::io::stdin().is_terminal() {
        return Err(usage(
            "Nothing was changed. To do what the plan says, add --yes.",
        ));
    }
    // A prompt that cannot be shown is answered by nobody.
    write!(std::io::stderr(), "Type yes to agree: ").ok();
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    if read.is_ok() && answer.trim() == "yes" {
        return Ok(());
    }
    let what = "Expiring recovery points".to_owned();
    Err(Kind::Interrupted { what }.into())
}

fn summary(session: &Session, plan: &Plan, applied: Option<&[PointId]>) -> Result<(), Problem> {
    let removals = plan.removals().len();
    let result = json!({
        "plan": plan.id, "time_zone": plan.request.zone, "grace": plan.request.grace,
        "keep": plan.decisions.len() - removals, "remove": removals,
        "applied": applied.is_some(), "removed": applied,
    });
    session
        .output
        .result("expire_plan", &result, || {
            let keep = plan.decisions.len() - removals;
            let head = format!(
                "Plan {}: {removals} recovery points go, {keep} stay.",
                plan.id
            );
            match (&applied, removals) {
                (_, 0) => head,
                (None, _) => format!("{head} To do it: tresor expire --apply {}", plan.id),
                (Some(_), _) => format!(
                    "{head} Done. What was deleted can be brought back for {} \
                     (`tresor points undelete POINT`); a later `tresor expire` ends it.",
                    plan.request.grace
                ),
            }
        })
        .map_err(print_problem)
}
