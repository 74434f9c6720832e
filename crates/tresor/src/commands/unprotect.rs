//! `tresor unprotect`: no more backups, and the recovery points kept or deleted.

use jiff::{Timestamp, tz::TimeZone};
use serde_json::json;
use tresor_catalog::{Catalog, VaultRecord, VmRecord};
use tresor_host::{KeyChoice, Manner, VaultPlace, open_vault_at};
use tresor_model::JobId;
use tresor_problem::Problem;
use tresor_service::unwanted;
use tresor_workflows::expire::{self, Plan, Request};

use super::{
    asked,
    expire::{confirm, print},
    lookup, open, queue,
    session::{Session, print_problem},
};
use crate::{args::UnprotectArgs, output::note};

pub(super) async fn run(args: UnprotectArgs, session: &Session) -> Result<(), Problem> {
    match (args.delete_data, session.is_remote()?) {
        (true, true) => return delete_elsewhere(&args, session).await,
        (true, false) => {
            let catalog = session.catalog().await?;
            let vm = open::vm(&catalog, &args.vm).await?;
            return delete_data(&args, &vm, &catalog, session).await;
        }
        (false, _) => {}
    }
    let client = session.client().await?;
    let vm = lookup::vm(&client, &args.vm).await?;
    let vm = client.stop_protection(vm).await?;
    let result = json!({ "vm": vm.name, "data": "kept" });
    let text = || {
        format!(
            "VM {} is backed up no more; its recovery points stay as they are. `tresor protect {0}` goes on.",
            vm.name
        )
    };
    let printed = session.output.result("unprotected", &result, text);
    printed.map_err(print_problem)
}

/// What would go is in the vault, whose key is not here: it is not shown.
async fn delete_elsewhere(args: &UnprotectArgs, session: &Session) -> Result<(), Problem> {
    let client = session.client().await?;
    let vm = lookup::vm(&client, &args.vm).await?;
    let vm = client.item(vm).await?;
    if !args.yes {
        note(&format!(
            "All recovery points of VM {} in vault {} are deleted, but for those that a pin or a lock holds; they \
             can be brought back for 7 days.",
            vm.name, vm.vault
        ));
        confirm()?;
    }
    let job = client.delete_data(vm.vm).await?;
    asked::leave(session, &client, job).await
}

/// Shows what would go, asks, and leaves the deletion to the service.
async fn delete_data(
    args: &UnprotectArgs,
    vm: &VmRecord,
    catalog: &Catalog,
    session: &Session,
) -> Result<(), Problem> {
    let failed = |error| Problem::from(&error);
    // Nothing is asked about a VM that is not protected.
    catalog.item(vm.id).await.map_err(failed)?;
    let vault = catalog.vault(&vm.vault).await.map_err(failed)?;
    let request = unwanted(&vault, vm.id, &TimeZone::system());
    let plan = show(session, &vault, request.clone()).await?;
    if !args.yes && !plan.removals().is_empty() {
        confirm()?;
    }
    let now = Timestamp::now();
    let stopped = catalog.stop_and_delete(vm.id, now).await;
    stopped.map_err(failed)?;
    let job = expire::plan(JobId::generate(), &vault.name, &request).new_job(now);
    queue::put(catalog, &job).await?;
    let (removals, grace) = (plan.removals().len(), &request.grace);
    let kept = plan.decisions.len() - removals;
    let result = json!({
        "vm": vm.name, "data": "deleted", "remove": removals, "keep": kept, "job": job.id,
        "grace": grace,
    });
    let text = || {
        format!(
            "VM {} is backed up no more; {removals} of its recovery points go and {kept} stay as long as \
             something holds them. Job {} deletes them, while `tresor serve` runs; they can be brought back \
             for {grace} (`tresor points undelete POINT`).",
            vm.name, job.id
        )
    };
    let printed = session.output.result("unprotected", &result, text);
    printed.map_err(print_problem)
}

/// Prints what would become of each point.
async fn show(session: &Session, vault: &VaultRecord, request: Request) -> Result<Plan, Problem> {
    let place = VaultPlace::of(vault)?;
    let opened = open_vault_at(&place, &KeyChoice::default(), Manner::default()).await?;
    let list = open::list(&opened).await?;
    let plan = expire::sound_plan(request, &opened, &list, |_| {}).await?;
    print(session, &plan, &list)?;
    Ok(plan)
}
