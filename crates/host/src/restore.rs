//! Restores that were queued, on this machine.

use tokio_util::sync::CancellationToken;
use tresor_jobs::NewJob;
use tresor_model::RecoveryPoint;
use tresor_problem::Problem;
use tresor_workflows::{
    restore::{self, RestoreContext, RestoreOrder},
    vault_problem,
};

use crate::{
    copies::OtherVaults,
    problems::usage,
    role::{Begun, HostRole},
};

/// Begins a restore and carries it to its end.
pub(crate) async fn run(
    role: &HostRole,
    job: &NewJob,
    cancel: &CancellationToken,
) -> Result<Begun, Problem> {
    let mut order = RestoreOrder::of_params(&job.params)?;
    let plan = restore::plan(job.id, &order);
    // Here, whoever recorded it.
    order.to = role.restore_dirs().resolve(&order.to)?;
    let vault = role.registry.vault(&order.vault, None).await?;
    let point = vault.point(order.point).await;
    let point = point.map_err(|error| vault_problem(&error, vault.location()))?;
    if point.vm.is_database() {
        return Err(no_vms(&point));
    }
    let vault = match role.registry.catalog() {
        Some(catalog) => {
            let others = OtherVaults::known(catalog, &vault, tell).await?;
            let copies = others.copies(vault.id(), &point);
            vault.with_copies(copies)
        }
        None => vault,
    };
    let mut ctx = RestoreContext::new(vault, point, order);
    role.take_up(plan, &mut ctx, cancel).await
}

fn tell(text: &str) {
    tracing::warn!("{text}");
}

/// Private keys shall not lie among images.
#[must_use]
pub fn no_vms(point: &RecoveryPoint) -> Problem {
    usage(&format!(
        "Recovery point {} is a backup of an installation's database: `tresor catalog restore` brings it back.",
        point.id
    ))
}
