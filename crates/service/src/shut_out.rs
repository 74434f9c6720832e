//! Jobs of a host that is let in no more.

use std::sync::Arc;

use tresor_catalog::{Catalog, HostRecord};
use tresor_jobs::{Engine, JobFilter, JobLog as _};
use tresor_problem::{Kind, Problem};

/// Ends them: none waits for the host, and no VM stays locked by one.
///
/// # Errors
/// What the catalog says.
pub async fn end_jobs_of(catalog: &Arc<Catalog>, host: &HostRecord) -> Result<(), Problem> {
    let filter = JobFilter {
        unfinished: true,
        lane: Some(host.id.to_string()),
        ..JobFilter::default()
    };
    let jobs = catalog.list(&filter).await;
    let engine = Engine::new(Arc::clone(catalog) as _);
    for job in jobs.map_err(|error| Problem::from(&error))? {
        let (id, subject) = (job.job.id, job.job.subject);
        let host = host.name.clone();
        let cause: Problem = Kind::HostShutOut { host }.into();
        let ended = match job.owner {
            None => engine.refuse(&**catalog, id, cause).await.map(|_| true),
            Some(_) => engine.give_up(id, cause).await,
        };
        if ended.map_err(|error| Problem::from(&error))? {
            tracing::info!(job = %id, subject, "a job of a host that is shut out was ended");
        }
    }
    Ok(())
}
