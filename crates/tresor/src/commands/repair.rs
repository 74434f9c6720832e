//! `tresor repair`

use serde_json::json;
use tresor_host::OtherVaults;
use tresor_jobs::NewJob;
use tresor_model::{JobId, JobKind};
use tresor_problem::{Kind, Problem};
use tresor_workflows::repair::{self, Affected, RepairContext};

use super::{
    open,
    session::{Session, print_problem},
};
use crate::{
    args::{KeyArgs, RepairArgs},
    output::{bytes, note, plain_table},
};

pub(super) async fn run(args: RepairArgs, session: &Session) -> Result<(), Problem> {
    let catalog = session.catalog().await?;
    let vault = open::vault(&catalog, &args.access).await?;
    let others = match &args.from {
        None => OtherVaults::known(&catalog, &vault, note).await?,
        Some(from) => {
            let key = KeyArgs {
                key_file: args.from_key_file.clone(),
                passphrase_file: None,
            };
            let place = open::find_vault(&catalog, Some(from), None).await?;
            OtherVaults::only(place, key.choice(), note)
        }
    };
    let make = |job: JobId| {
        let (others, id) = (others.clone(), vault.id());
        let copies = Box::new(move |point: &_| others.copies(id, point));
        (
            repair::plan(job, &vault, args.dry_run),
            RepairContext::new(vault.clone(), copies),
        )
    };
    let runner = session.runner(&catalog);
    let lock = repair::lock_of(&vault);
    runner
        .recover(JobKind::Repair, Some(&lock), |job: &NewJob| {
            Ok(make(job.id))
        })
        .await?;
    let (plan, mut ctx) = make(JobId::generate());
    runner.run(plan, &mut ctx).await?;
    print(session, &ctx, &args, vault.location())?;
    if args.dry_run || ctx.after.is_empty() {
        return Ok(());
    }
    let mut points: Vec<_> = ctx.after.iter().map(|lost| lost.point).collect();
    points.dedup();
    let lost: u64 = ctx.after.iter().map(|lost| lost.bytes).sum();
    Err(Kind::RepairIncomplete {
        location: vault.location().to_owned(),
        points: points.len().to_string(),
        bytes: lost.to_string(),
    }
    .into())
}

fn print(
    session: &Session,
    ctx: &RepairContext,
    args: &RepairArgs,
    location: &str,
) -> Result<(), Problem> {
    let after = (!args.dry_run).then_some(&ctx.after);
    let repaired = &ctx.repaired;
    let result = json!({
        "before": ctx.before, "after": after,
        "read": repaired.read, "new": repaired.new, "stored": repaired.stored,
    });
    session
        .output
        .result("repair", &result, || {
            if ctx.before.is_empty() {
                return format!(
                    "Nothing is lost in {location}, as far as is known: `tresor verify` reads it"
                );
            }
            let mut text = format!("Affected:\n{}\n", affected_table(&ctx.before));
            if args.dry_run {
                text.push_str("Nothing was changed");
            } else if ctx.after.is_empty() {
                text.push_str(&format!(
                    "All of it is back: {} stored",
                    bytes(repaired.stored)
                ));
            } else {
                text.push_str(&format!(
                    "{} stored. Affected still:\n{}",
                    bytes(repaired.stored),
                    affected_table(&ctx.after)
                ));
            }
            text
        })
        .map_err(print_problem)
}

/// Points that are not whole, and what is wrong with which disk of them.
pub(super) fn affected_table(affected: &[Affected]) -> String {
    let mut table = plain_table(&["point", "VM", "taken at", "disk", "lost", "objects"]);
    for lost in affected {
        table.add_row([
            lost.point.to_string(),
            lost.vm.clone(),
            lost.taken_at.to_string(),
            lost.disk.to_string(),
            bytes(lost.bytes),
            lost.objects.join("\n"),
        ]);
    }
    table.to_string()
}
