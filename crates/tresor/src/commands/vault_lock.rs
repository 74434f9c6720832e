//! `tresor vault lock`: what is in the vault stays for some days, whoever asks.

use std::io::{IsTerminal as _, Write as _};

use serde_json::json;
use tresor_host::usage;
use tresor_problem::{Kind, Problem};
use tresor_workflows::vault_problem;

use super::{
    hold, open,
    session::{Session, print_problem},
};
use crate::{args::VaultAccess, output::note};

pub(super) async fn lock(
    session: &Session,
    access: &VaultAccess,
    min_days: u32,
    yes: bool,
) -> Result<(), Problem> {
    let catalog = session.catalog().await?;
    let vault = open::vault(&catalog, access).await?;
    let failed = |error| vault_problem(&error, vault.location());
    let before = vault.lock_days().await.map_err(failed)?;
    if min_days > before && !yes {
        confirm(vault.location(), min_days)?;
    }
    let days = vault.lock(min_days).await.map_err(failed)?;
    let held = hold::hold(session, &vault, None).await?;
    let result = json!({
        "id": vault.id(), "lock_days": days, "before": before, "held": held,
    });
    session
        .output
        .result("vault_locked", &result, || {
            let again = if days > min_days {
                format!(" It was locked for {days} days before, which cannot be shortened.")
            } else {
                String::new()
            };
            format!(
                "Vault {} is locked: each recovery point stays for at least {days} days.{again}{}",
                vault.id(),
                hold::words(held),
            )
        })
        .map_err(print_problem)
}

fn confirm(location: &str, days: u32) -> Result<(), Problem> {
    note(&format!(
        "Every recovery point in {location}, now and later, will stay for at least {days} days from \
         its commit.\nThis is never taken back; its space cannot be freed before."
    ));
    if !std::io::stdin().is_terminal() {
        return Err(usage("Nothing was changed. To lock the vault, add --yes."));
    }
    // A prompt that cannot be shown is answered by nobody.
    write!(std::io::stderr(), "Type yes to agree: ").ok();
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    if read.is_ok() && answer.trim() == "yes" {
        return Ok(());
    }
    let what = "Locking the vault".to_owned();
    Err(Kind::Interrupted { what }.into())
}
