//! Looking after vaults: jobs that were queued for whoever has the vault's key.

use tokio_util::sync::CancellationToken;
use tresor_jobs::NewJob;
use tresor_problem::Problem;
use tresor_workflows::{
    collect::{self, CollectContext},
    expire::{self, ExpireContext},
};

use crate::{
    role::{Begun, HostRole},
    state::absolute,
};

/// Removes what retention does not keep.
pub(crate) async fn expire(
    role: &HostRole,
    job: &NewJob,
    cancel: &CancellationToken,
) -> Result<Begun, Problem> {
    let (name, request) = expire::of_params(&job.params)?;
    let vault = role.registry.vault(&name, None).await?;
    let plan = expire::plan(job.id, &name, &request);
    let mut ctx = ExpireContext::new(vault, request);
    role.take_up(plan, &mut ctx, cancel).await
}

/// Frees what nothing uses.
pub(crate) async fn collect(
    role: &HostRole,
    job: &NewJob,
    cancel: &CancellationToken,
) -> Result<Begun, Problem> {
    let name = collect::of_params(&job.params)?;
    let vault = role.registry.vault(&name, None).await?;
    // What is moved is read on the way, and not again by the next backup from here.
    vault.remember_in(&absolute(&role.state.index_cache()));
    let plan = collect::plan(job.id, &name, vault.id());
    let mut ctx = CollectContext::new(vault);
    role.take_up(plan, &mut ctx, cancel).await
}
