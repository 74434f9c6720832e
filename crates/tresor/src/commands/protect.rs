//! `tresor protect`

use jiff::{Timestamp, tz::TimeZone};
use serde_json::json;
use tresor_catalog::{Catalog, DatasourceFilter, DatasourceRecord, VmRecord};
use tresor_host::usage;
use tresor_policy::Policy;
use tresor_problem::{Kind, Problem};
use tresor_service::Outlook;

use super::{
    open,
    session::{Session, print_problem},
};
use crate::args::ProtectArgs;

pub(super) async fn run(args: ProtectArgs, session: &Session) -> Result<(), Problem> {
    let catalog = session.catalog().await?;
    tresor_service::make_ready(&catalog, &Policy::ready_made()).await?;
    let vm = registered(&catalog, &args).await?;
    let now = Timestamp::now();
    let done = catalog.protect(vm.id, &args.policy, now).await;
    done.map_err(|error| Problem::from(&error))?;
    let policy = catalog.policy(&args.policy).await;
    let policy = policy.map_err(|error| Problem::from(&error))?;
    let outlook = Outlook::new(policy.policy, policy.revision, &TimeZone::system(), now);
    let first = outlook
        .ok()
        .and_then(|outlook| outlook.window_after(now, None, None, now));
    let result = json!({
        "vm": vm.name, "policy": args.policy, "vault": vm.vault,
        "next_window": first.map(|window| window.opens),
    });
    let text = || {
        let when = first.map_or("its policy is never due again".to_owned(), |window| {
            format!(
                "the next backup starts between {} and {}",
                window.opens, window.closes
            )
        });
        format!(
            "VM {} is protected by policy {}, into vault {}: {when}, while `tresor serve` runs.",
            vm.name, args.policy, vm.vault
        )
    };
    let printed = session.output.result("protected", &result, text);
    printed.map_err(print_problem)
}

/// The VM; one that was only found is registered.
async fn registered(catalog: &Catalog, args: &ProtectArgs) -> Result<VmRecord, Problem> {
    let missing = match open::vm(catalog, &args.vm).await {
        Err(problem) if problem.is("VmNotFound") => problem,
        found => return found,
    };
    let found = found(catalog, &args.vm).await?;
    let (seen, host) = match found.as_slice() {
        [] => return Err(missing),
        [only] => (&only.seen, only.host),
        _ => {
            return Err(usage(&format!(
                "Several VMs are called {}: give one its UUID instead of a name.",
                args.vm
            )));
        }
    };
    let place = open::find_vault(catalog, args.vault.as_deref(), None).await?;
    let Some(vault) = place.name else {
        let location = place.location.to_string();
        return Err(Kind::VaultNotFound { location }.into());
    };
    let vm = VmRecord {
        name: args.name.clone().unwrap_or_else(|| seen.name.clone()),
        id: seen.vm,
        qmp_socket: seen.qmp_socket.clone(),
        agent_socket: seen.agent_socket.clone(),
        excluded_disks: Vec::new(),
        included_disks: Vec::new(),
        machine: seen.machine.clone(),
        vault,
        retention: None,
        created_at: Timestamp::now(),
        host,
    };
    let added = catalog.add_vm(&vm).await;
    added.map_err(|error| Problem::from(&error))?;
    Ok(vm)
}

/// VMs that were found, here or on a host, and are called so, or have this UUID.
async fn found(catalog: &Catalog, name: &str) -> Result<Vec<DatasourceRecord>, Problem> {
    let filter = DatasourceFilter {
        gone: Some(false),
        ..DatasourceFilter::default()
    };
    let found = catalog.all_datasources(&filter).await;
    let mut found = found.map_err(|error| Problem::from(&error))?;
    found.retain(|it| it.seen.name == name || it.seen.vm.to_string() == name);
    Ok(found)
}
