//! The backup of the installation's own database: what of the state directory belongs to it.

use std::{io, sync::Arc};

use tokio_util::sync::CancellationToken;
use tresor_catalog::Catalog;
use tresor_jobs::NewJob;
use tresor_problem::{Kind, Problem};
use tresor_vault::Vault;
use tresor_vault_format::database::{DumpFile, FILES, MAX_FILE};
use tresor_workflows::database::{self, DatabaseContext, Services};

use crate::{
    here::here,
    role::{Begun, HostRole},
    state::{StateDir, absolute},
};

/// What a backup of a catalog works with, on the machine of this state directory.
///
/// # Errors
/// `StateUnusable` when a file that belongs to it cannot be read.
pub async fn database_services(
    catalog: Arc<Catalog>,
    state: &StateDir,
    vault: Vault,
) -> Result<Services, Problem> {
    let host = here(state, &catalog).await?;
    Ok(Services {
        catalog,
        vault,
        files: files(state)?,
        host,
        scratch: state.path().to_owned(),
        index_cache: Some(absolute(&state.index_cache())),
    })
}

/// The files that are there: a machine that never ran `tresor serve` has none. Never the key of a vault.
fn files(state: &StateDir) -> Result<Vec<DumpFile>, Problem> {
    let mut files = Vec::new();
    for name in FILES {
        let path = state.path().join(name);
        let unreadable = |reason: String| {
            let path = path.display().to_string();
            Problem::from(Kind::StateUnusable { path, reason })
        };
        match std::fs::read_to_string(&path) {
            Ok(text) if text.len() > MAX_FILE => {
                return Err(unreadable(format!("it is longer than {MAX_FILE} bytes")));
            }
            Ok(text) => files.push(DumpFile {
                name: name.to_owned(),
                text,
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(unreadable(error.to_string())),
        }
    }
    Ok(files)
}

/// Begins a backup of the database and carries it to its end.
pub(crate) async fn run(
    role: &HostRole,
    job: &NewJob,
    cancel: &CancellationToken,
) -> Result<Begun, Problem> {
    let mut ctx = context(role, job).await?;
    let plan = database::plan(job.id, &ctx.1, ctx.2);
    role.take_up(plan, &mut ctx.0, cancel).await
}

/// Ends one that a dead process left.
pub(crate) async fn end(role: &HostRole, job: &NewJob) -> Result<(), Problem> {
    let mut ctx = context(role, job).await?;
    let plan = database::plan(job.id, &ctx.1, ctx.2);
    role.recover(plan, &mut ctx.0).await
}

async fn context(
    role: &HostRole,
    job: &NewJob,
) -> Result<(DatabaseContext, String, tresor_model::VaultId), Problem> {
    let name = database::of_params(&job.params)?;
    let catalog = Arc::new(role.catalog(job.kind)?.clone());
    let vault = role.registry.vault(&name, None).await?;
    let id = vault.id();
    let services = database_services(catalog, &role.state, vault).await?;
    Ok((DatabaseContext::new(job.id, services), name, id))
}
