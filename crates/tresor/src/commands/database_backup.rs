//! `tresor catalog backup`: the database of this installation, into a vault.

use serde_json::json;
use tresor_host::database_services;
use tresor_model::JobId;
use tresor_problem::Problem;
use tresor_workflows::database::{self, DatabaseContext};

use super::{
    open::{find_vault, open_vault},
    session::{Session, print_problem},
};
use crate::{
    args::{CatalogBackupArgs, VaultAccess},
    output::bytes,
};

pub(super) async fn run(args: CatalogBackupArgs, session: &Session) -> Result<(), Problem> {
    let catalog = session.catalog().await?;
    let place = find_vault(&catalog, args.vault.as_deref(), None).await?;
    let access = VaultAccess {
        vault: None,
        key: args.key,
    };
    let vault = open_vault(&place, &access).await?;
    let name = place.name.unwrap_or_else(|| vault.location().to_owned());
    let job = JobId::generate();
    let plan = database::plan(job, &name, vault.id());
    let runner = session.runner(&catalog);
    let lock = plan.lock.clone().unwrap_or_default();
    runner.end_abandoned(plan.kind, Some(&lock)).await?;
    let services = database_services(catalog.clone(), &session.state()?, vault).await?;
    let outcome = runner
        .run(plan, &mut DatabaseContext::new(job, services))
        .await?;
    let outputs = outcome.view.sub_tasks.iter();
    let of = |name: &str| {
        let mut outputs = outputs.clone().rev();
        let found = outputs.find_map(|task| task.output.as_ref()?.get(name));
        found.cloned().unwrap_or_default()
    };
    let (size, stored) = (of("bytes"), of("stored"));
    let result = json!({
        "vault": name, "point": of("point"), "taken_at": of("taken_at"), "rows": of("rows"),
        "size": size, "stored": stored, "removed": of("removed"),
    });
    let text = || {
        let count = |value: &serde_json::Value| bytes(value.as_u64().unwrap_or(0));
        format!(
            "The database is in vault {name}: {} ({}, {} new).\n\
             To have it back on another machine it takes the vault and a key of it: keep the recovery key \
             away from this machine.",
            of("point").as_str().unwrap_or_default(),
            count(&size),
            count(&of("stored")),
        )
    };
    let printed = session.output.result("catalog_backup", &result, text);
    printed.map_err(print_problem)
}
