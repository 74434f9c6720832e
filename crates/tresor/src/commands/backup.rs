//! `tresor backup`

use serde::Deserialize as _;
use serde_json::json;
use tresor_catalog::{Catalog, PointRecord};
use tresor_host::internal;
use tresor_model::{DiskStats, JobId, Observation, ReadMode, RecoveryPoint, StreamName};
use tresor_problem::Problem;
use tresor_vault::{LevelCounts, Vault};
use tresor_workflows::backup::{self, COMPRESSION, GUEST_WRITES};

use super::{
    asked,
    held::Held,
    hold, partial,
    session::{Session, print_problem},
};
use crate::{
    args::BackupArgs,
    output::{bytes, micros, note},
};

/// The code of the problem of a VM that was started while it was backed up.
const VM_STARTED: &str = "VmStarted";

pub(super) async fn run(args: BackupArgs, session: &Session) -> Result<(), Problem> {
    if args.queue || session.is_remote()? {
        return asked::backup(session, &args).await;
    }
    let catalog = session.catalog().await?;
    let mut held = Held::take(session, &catalog, &args).await?;
    held.recover().await?;
    let point = match one(&mut held, &catalog).await {
        Err(problem) if problem.code == VM_STARTED => {
            note("the VM was started: its disks are left to it, going on with the running VM");
            let answers = held.work.provider.wait_until_running().await;
            answers.map_err(|_| problem)?;
            one(&mut held, &catalog).await?
        }
        point => point?,
    };
    remember(&catalog, &held.work.vault, &point).await;
    let held_until = hold::hold_new(session, &held.work.vault, [point.id]).await;
    let mut result = summary(&point);
    result["held_until"] = json!(held_until);
    session
        .output
        .result("backup", &result, || match held_until {
            None => text(&point),
            Some(until) => format!("{}\n  held by the storage until {until}", text(&point)),
        })
        .map_err(print_problem)?;
    let place = held.place.clone();
    // The VM is free for others while the vault is read.
    drop(held);
    if let Some(share) = place.verify_share {
        partial::after_backup(session, &place, &args.access.key, share).await;
    }
    Ok(())
}

/// One job, and what was seen of the machine.
async fn one(held: &mut Held<'_>, catalog: &Catalog) -> Result<RecoveryPoint, Problem> {
    let job = JobId::generate();
    held.work.note(job)?;
    let mut ctx = held.work.context(job, held.order.clone());
    let plan = backup::plan(job, &held.order);
    let done = held.runner.run(plan, &mut ctx).await;
    if let Some(machine) = &ctx.seen
        && held.work.vm.machine.as_ref() != Some(machine)
        && let Err(error) = catalog.set_vm_machine(&held.work.vm.name, machine).await
    {
        note(&format!(
            "warning: what the VM is now could not be noted: {error}"
        ));
    }
    done?;
    let point = ctx.point.take();
    point.ok_or_else(|| internal("The backup left no recovery point.".to_owned()))
}

/// The catalog's copy is a convenience; the vault is the truth.
async fn remember(catalog: &Catalog, vault: &Vault, point: &RecoveryPoint) {
    let entry = PointRecord::of(point, vault.id());
    if let Err(error) = catalog.upsert_point(&entry).await {
        note(&format!(
            "warning: the point is in the vault, but not in the catalog: {error}"
        ));
    }
}

fn total(point: &RecoveryPoint) -> DiskStats {
    point
        .disks
        .iter()
        .fold(DiskStats::default(), |sum, disk| sum.plus(&disk.stats))
}

fn summary(point: &RecoveryPoint) -> serde_json::Value {
    json!({
        "point": point.id, "vm": point.vm_name, "taken_at": point.taken_at,
        "consistency": point.consistency, "total": total(point), "warnings": point.warnings,
        "disks": point.disks.iter().map(|disk| json!({
            "name": disk.stream.name, "size": disk.stream.size,
            "read_mode": disk.read_mode, "stats": disk.stats, "reread": disk.reread,
        })).collect::<Vec<_>>(),
        "left_out": left_out(point).map(|(name, reason)| json!({
            "name": name, "reason": reason,
        })).collect::<Vec<_>>(),
        "guest_writes": seen(point, GUEST_WRITES),
        "compression": seen(point, COMPRESSION),
    })
}

/// What the point has of a fact: what the backup did to the guest's writes, how it compressed.
fn seen<'a>(point: &'a RecoveryPoint, name: &str) -> Option<&'a serde_json::Value> {
    let fact = point.facts.iter().find(|fact| fact.name == name)?;
    match &fact.observation {
        Observation::Present { value } => Some(value),
        _ => None,
    }
}

/// How what was new is coded; `None`: nothing was.
fn levels(point: &RecoveryPoint) -> Option<LevelCounts> {
    let levels = LevelCounts::deserialize(seen(point, COMPRESSION)?).ok()?;
    (levels != LevelCounts::default()).then_some(levels)
}

fn guest_writes_text(seen: &serde_json::Value) -> String {
    let time = |name: &str| match seen[name].as_u64() {
        Some(time) => micros(time),
        None => "(none seen)".to_owned(),
    };
    let mut text = format!(
        "guest writes took {} before, {} on average at worst",
        time("before_us"),
        time("worst_us"),
    );
    if let Some(held) = seen["held_back_ms"].as_u64().filter(|held| *held > 0) {
        text.push_str(&format!(
            "; reading was held back for {}",
            micros(held.saturating_mul(1000))
        ));
    }
    if let Some(pace) = seen["slowest_pace"].as_u64() {
        text.push_str(&format!(", down to {}/s for the guest's sake", bytes(pace)));
    }
    text
}

fn text(point: &RecoveryPoint) -> String {
    let sum = total(point);
    let mut text = format!(
        "Recovery point {} of {} ({})\n  {}\n  read {}, new {}, stored {}",
        point.id,
        point.vm_name,
        point.consistency.achieved,
        point.consistency.proof,
        bytes(sum.read),
        bytes(sum.new),
        bytes(sum.stored),
    );
    if let Some(frozen) = point.consistency.frozen_us {
        text.push_str(&format!("\n  guest held for {}", micros(frozen)));
    }
    if let Some(levels) = levels(point) {
        text.push_str(&format!("\n  compression: {levels}"));
    }
    if let Some(seen) = seen(point, GUEST_WRITES) {
        text.push_str(&format!("\n  {}", guest_writes_text(seen)));
    }
    for disk in &point.disks {
        let how = match &disk.read_mode {
            ReadMode::Incremental { .. } => "what changed since the last point".to_owned(),
            ReadMode::Full { reason } => format!("all data: {reason}"),
        };
        text.push_str(&format!("\n  disk {}: {how}", disk.stream.name));
        if let Some(reread) = disk.reread.filter(|reread| reread.bytes > 0) {
            let compared = bytes(reread.bytes);
            text.push_str(&format!("; {compared} of the rest compared"));
        }
    }
    for (name, reason) in left_out(point) {
        text.push_str(&format!("\n  disk {name}: left out: {reason}"));
    }
    text
}

/// The disks that are not in the point, with the reason.
fn left_out(point: &RecoveryPoint) -> impl Iterator<Item = (&StreamName, &str)> {
    let disks = point.machine.disks.iter();
    disks.filter_map(|disk| Some((&disk.name, disk.excluded.as_deref()?)))
}
