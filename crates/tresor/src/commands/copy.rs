//! `tresor copy`

use std::num::NonZeroU64;

use serde_json::{Value, json};
use tresor_catalog::{Catalog, PointRecord};
use tresor_host::{Manner, VaultPlace, open_vault_at, usage};
use tresor_model::{JobId, JobKind, PointId};
use tresor_problem::Problem;
use tresor_vault::{CopyStats, PlannedCopy, Vault};
use tresor_workflows::copy::{self, CopiedPoint, CopyContext, CopyOrder, CopyReadBack};

use super::{
    asked, hold, open,
    session::{Session, print_problem},
};
use crate::{
    args::{CopyArgs, KeyArgs, ReadBackArg, StoreArgs},
    output::{bytes, note, plain_table},
};

pub(super) async fn run(args: CopyArgs, session: &Session) -> Result<(), Problem> {
    if args.queue || session.is_remote()? {
        return asked::copy(session, &args).await;
    }
    let catalog = session.catalog().await?;
    let places = places(&catalog, &args).await?;
    let (source, target) = open_both(&places, &args).await?;
    let order = order(&places, (&source, &target), &args).await?;
    let cache = session.state()?.index_cache();
    let mut request = order.request(&source, &target, Some(cache)).await?;
    if args.dry_run {
        return print_plan(session, &request.planned);
    }
    let runner = session.runner(&catalog);
    runner
        .end_abandoned(JobKind::Copy, Some(&order.lock()))
        .await?;
    let plan = copy::plan(JobId::generate(), &order);
    let mut ctx = CopyContext::new(source, target.clone(), request.clone());
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

/// The vault to copy from, and the one to copy to.
async fn places(catalog: &Catalog, args: &CopyArgs) -> Result<(VaultPlace, VaultPlace), Problem> {
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
    Ok((from, to))
}

async fn open_both(
    (from, to): &(VaultPlace, VaultPlace),
    args: &CopyArgs,
) -> Result<(Vault, Vault), Problem> {
    let manner = Manner {
        read_limit: limit(args.read_limit),
        ..Manner::default()
    };
    let source = open_vault_at(from, &args.key.choice(), manner).await?;
    let key = KeyArgs {
        key_file: args.to_key_file.clone(),
        passphrase_file: args.to_passphrase_file.clone(),
    };
    let manner = Manner {
        upload_limit: limit(args.upload_limit),
        ..Manner::default()
    };
    let target = open_vault_at(to, &key.choice(), manner).await?;
    if source.id() == target.id() {
        return Err(usage(
            "A vault is not copied into itself: --from and --to are the same.",
        ));
    }
    Ok((source, target))
}

fn limit(mib: Option<u32>) -> Option<NonZeroU64> {
    mib.and_then(|mib| NonZeroU64::new(u64::from(mib) << 20))
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

/// What is asked for.
async fn order(
    (from, to): &(VaultPlace, VaultPlace),
    (source, target): (&Vault, &Vault),
    args: &CopyArgs,
) -> Result<CopyOrder, Problem> {
    let name = |place: &VaultPlace| {
        let location = || place.location.to_string();
        place.name.clone().unwrap_or_else(location)
    };
    let mut order = CopyOrder::new((&name(from), source.id()), (&name(to), target.id()));
    order.newest = args.newest;
    order.older = args.older;
    order.read_back = match args.read_back {
        ReadBackArg::None => CopyReadBack::None,
        ReadBackArg::Sample => CopyReadBack::Sample,
        ReadBackArg::All => CopyReadBack::All,
    };
    order.read_limit = limit(args.read_limit);
    order.upload_limit = limit(args.upload_limit);
    let here = open::points(source).await?;
    for what in &args.what {
        if here.iter().any(|point| point.vm_name == *what) {
            order.vms.push(what.clone());
            continue;
        }
        let id: Option<PointId> = what.parse().ok();
        match id.filter(|id| here.iter().any(|point| point.id == *id)) {
            Some(id) => order.points.push(id),
            None => {
                return Err(usage(&format!(
                    "{what} is neither a VM nor a recovery point in {}.",
                    source.location()
                )));
            }
        }
    }
    Ok(order)
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
