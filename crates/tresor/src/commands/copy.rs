//! `tresor copy`

use std::num::NonZeroU64;

use serde_json::{Value, json};
use tresor_catalog::{Catalog, PointRecord};
use tresor_host::{Manner, VaultPlace, open_vault_at, usage};
use tresor_jobs::NewJob;
use tresor_model::{JobId, JobKind, PointId};
use tresor_problem::Problem;
use tresor_vault::{
    CopyChoice, CopyStats, PlannedCopy, PointSummary, ReadBack, Vault, plan_copies,
};
use tresor_workflows::{
    copy::{self, CopiedPoint, CopyContext, CopyRequest},
    vault_problem,
};

use super::{
    hold, open,
    session::{Session, print_problem},
};
use crate::{
    args::{CopyArgs, KeyArgs, ReadBackArg, StoreArgs},
    output::{bytes, note, plain_table},
};

/// A sixteenth of the parts of 4 MiB is read back.
const SAMPLE: u64 = 16;

pub(super) async fn run(args: CopyArgs, session: &Session) -> Result<(), Problem> {
    let catalog = session.catalog().await?;
    let (source, target) = open_both(&catalog, &args).await?;
    let mut request = request(session, &source, &target, &args).await?;
    if args.dry_run {
        return print_plan(session, &request.planned);
    }
    let make = |job: JobId| {
        (
            copy::plan(job, (&source, &target), &request),
            CopyContext::new(source.clone(), target.clone(), request.clone()),
        )
    };
    let runner = session.runner(&catalog);
    let lock = copy::lock_of(&source, &target);
    runner
        .recover(JobKind::Copy, Some(&lock), |job: &NewJob| Ok(make(job.id)))
        .await?;
    let (plan, mut ctx) = make(JobId::generate());
    let ended = runner.run(plan, &mut ctx).await;
    for copied in &ctx.copied {
        remember(&catalog, &target, copied).await;
    }
    hold::hold_new(
        session,
        &target,
        ctx.copied.iter().map(|copied| copied.copy.id),
    )
    .await;
    let planned = std::mem::take(&mut request.planned);
    print_result(session, &ctx.copied, &planned, target.location())?;
    ended.map(|_| ())
}

async fn open_both(catalog: &Catalog, args: &CopyArgs) -> Result<(Vault, Vault), Problem> {
    let to = open::find_named(catalog, &args.to, &args.to_store.store()).await?;
    let from = match &args.from {
        Some(from) => open::find_named(catalog, from, &args.store).await?,
        None if args.store != StoreArgs::default() => {
            return Err(usage(
                "Options for an object store were given without its URL: add --from, or write --to-… \
                 for the vault to copy to.",
            ));
        }
        None => the_other(catalog, &to).await?,
    };
    let limit = |mib: Option<u32>| mib.and_then(|mib| NonZeroU64::new(u64::from(mib) << 20));
    let manner = Manner {
        read_limit: limit(args.read_limit),
        ..Manner::default()
    };
    let source = open_vault_at(&from, &args.key.choice(), manner).await?;
    let key = KeyArgs {
        key_file: args.to_key_file.clone(),
        passphrase_file: args.to_passphrase_file.clone(),
    };
    let manner = Manner {
        upload_limit: limit(args.upload_limit),
        ..Manner::default()
    };
    let target = open_vault_at(&to, &key.choice(), manner).await?;
    if source.id() == target.id() {
        return Err(usage(
            "A vault is not copied into itself: --from and --to are the same.",
        ));
    }
    Ok((source, target))
}

async fn the_other(catalog: &Catalog, to: &VaultPlace) -> Result<VaultPlace, Problem> {
    let vaults = catalog.vaults().await;
    let vaults = vaults.map_err(|error| Problem::from(&error))?;
    let mut others = vaults
        .iter()
        .filter(|vault| Some(&vault.name) != to.name.as_ref());
    match (others.next(), others.next()) {
        (Some(only), None) => VaultPlace::of(only),
        _ => Err(usage("Say which vault to copy from with --from.")),
    }
}

/// What is to be done, from what both vaults have.
async fn request(
    session: &Session,
    source: &Vault,
    target: &Vault,
    args: &CopyArgs,
) -> Result<CopyRequest, Problem> {
    let here = open::points(source).await?;
    let ever = target.points_ever().await;
    let (ever, expired) = ever.map_err(|error| vault_problem(&error, target.location()))?;
    let choice = choice(args, &here, source)?;
    let planned = plan_copies(
        (source.id(), &here),
        (target.id(), &ever.points, &expired),
        &choice,
    );
    let mut there = ever.points;
    there.retain(|point| !expired.contains(&point.id));
    Ok(CopyRequest {
        planned,
        there,
        read_back: match args.read_back {
            ReadBackArg::None => ReadBack::None,
            ReadBackArg::Sample => ReadBack::Sample(SAMPLE),
            ReadBackArg::All => ReadBack::All,
        },
        index_cache: Some(session.state()?.index_cache()),
    })
}

fn choice(args: &CopyArgs, here: &[PointSummary], source: &Vault) -> Result<CopyChoice, Problem> {
    let mut choice = CopyChoice {
        newest: args.newest,
        older: args.older,
        ..CopyChoice::default()
    };
    for what in &args.what {
        if here.iter().any(|point| point.vm_name == *what) {
            choice.names.push(what.clone());
            continue;
        }
        let id: Option<PointId> = what.parse().ok();
        match id.filter(|id| here.iter().any(|point| point.id == *id)) {
            Some(id) => choice.points.push(id),
            None => {
                return Err(usage(&format!(
                    "{what} is neither a VM nor a recovery point in {}.",
                    source.location()
                )));
            }
        }
    }
    Ok(choice)
}

async fn remember(catalog: &Catalog, target: &Vault, copied: &CopiedPoint) {
    let entry = PointRecord::of(&copied.copy, target.id());
    if let Err(error) = catalog.upsert_point(&entry).await {
        note(&format!(
            "warning: the copy is in the vault, but not in the catalog: {error}"
        ));
    }
}

fn print_plan(session: &Session, planned: &[PlannedCopy]) -> Result<(), Problem> {
    let rows: Vec<Value> = planned
        .iter()
        .map(|copy| {
            let point = &copy.point;
            json!({
                "point": point.id, "vm": point.vm_name, "taken_at": point.taken_at,
                "size": point.size, "over": copy.base,
            })
        })
        .collect();
    let result = json!({ "planned": rows });
    session
        .output
        .result("copy_plan", &result, || {
            let mut table = plain_table(&["to be copied", "VM", "taken at", "size", "over"]);
            for PlannedCopy { point, base } in planned {
                let base = base.map_or_else(|| "nothing".to_owned(), |base| base.to_string());
                let size = bytes(point.size);
                table.add_row([
                    point.id.to_string(),
                    point.vm_name.clone(),
                    point.taken_at.to_string(),
                    size,
                    base,
                ]);
            }
            format!("{table}\n{} recovery points would be copied", planned.len())
        })
        .map_err(print_problem)
}

fn print_result(
    session: &Session,
    copied: &[CopiedPoint],
    planned: &[PlannedCopy],
    to: &str,
) -> Result<(), Problem> {
    let total = copied
        .iter()
        .fold(CopyStats::default(), |sum, copied| sum.plus(&copied.stats));
    let stats = |stats: &CopyStats| {
        json!({
            "read": stats.read, "new": stats.new, "stored": stats.stored,
            "read_back": stats.read_back,
        })
    };
    let rows: Vec<Value> = copied
        .iter()
        .map(|copied| {
            json!({
                "point": copied.from, "copy": copied.copy.id, "vm": copied.copy.vm_name,
                "taken_at": copied.copy.taken_at, "stats": stats(&copied.stats),
            })
        })
        .collect();
    let result = json!({
        "to": to, "planned": planned.len(), "copied": rows, "total": stats(&total),
    });
    session
        .output
        .result("copy", &result, || {
            let mut table = plain_table(&["copied", "VM", "taken at", "read", "new", "stored"]);
            for copied in copied {
                let stats = &copied.stats;
                table.add_row([
                    copied.from.to_string(),
                    copied.copy.vm_name.clone(),
                    copied.copy.taken_at.to_string(),
                    bytes(stats.read),
                    bytes(stats.new),
                    bytes(stats.stored),
                ]);
            }
            let done = format!("{} of {} recovery points", copied.len(), planned.len());
            let stored = bytes(total.stored);
            if copied.is_empty() && planned.is_empty() {
                format!("{to} has everything already")
            } else {
                format!(
                    "{table}\n{done} copied to {to}: {stored} stored, {} read back",
                    bytes(total.read_back)
                )
            }
        })
        .map_err(print_problem)
}
