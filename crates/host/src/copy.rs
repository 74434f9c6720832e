//! Copies between vaults that were queued for whoever has both keys.

use tokio_util::sync::CancellationToken;
use tresor_catalog::Catalog;
use tresor_jobs::NewJob;
use tresor_problem::Problem;
use tresor_vault::Vault;
use tresor_workflows::copy::{self, CopyContext, CopyOrder};

use crate::{
    keys::KeyChoice,
    place::{Manner, VaultPlace, open_vault_at},
    problems::usage,
    role::{Begun, HostRole},
    state::absolute,
};

/// Begins a copy and carries it to its end. What it has copied stays, however it ends.
pub(crate) async fn run(
    role: &HostRole,
    job: &NewJob,
    cancel: &CancellationToken,
) -> Result<Begun, Problem> {
    let order = CopyOrder::of_params(&job.params)?;
    let catalog = role.catalog(job.kind)?;
    let read = Manner {
        read_limit: order.read_limit,
        ..Manner::default()
    };
    let write = Manner {
        upload_limit: order.upload_limit,
        ..Manner::default()
    };
    let source = open(catalog, &order.from, read).await?;
    let target = open(catalog, &order.to, write).await?;
    if source.id() == target.id() {
        return Err(usage("A vault is not copied into itself."));
    }
    let cache = absolute(&role.state.index_cache());
    let request = order.request(&source, &target, Some(cache)).await?;
    let plan = copy::plan(job.id, &order);
    let to = target.id();
    let mut ctx = CopyContext::new(source, target, request);
    let done = role.take_up(plan, &mut ctx, cancel).await;
    for copied in &ctx.copied {
        if let Err(problem) = role.registry.note_point(to, &copied.copy).await {
            let point = copied.copy.id;
            tracing::warn!(%point, %problem, "the copy is in the vault, but not in the catalog");
        }
    }
    done
}

async fn open(catalog: &Catalog, name: &str, manner: Manner<'_>) -> Result<Vault, Problem> {
    let entry = catalog.vault(name).await;
    let place = VaultPlace::of(&entry.map_err(|error| Problem::from(&error))?)?;
    open_vault_at(&place, &KeyChoice::default(), manner).await
}
