//! Jobs that are left to `tresor serve`.

use jiff::Timestamp;
use serde_json::json;
use tresor_catalog::Catalog;
use tresor_host::{VaultPlace, usage};
use tresor_jobs::{JobQueue as _, NewJob, Ticket};
use tresor_problem::Problem;
use tresor_service::LOCAL_LANE;

use super::session::{Session, print_problem};
use crate::args::KeyArgs;

/// The name of a vault for a job that waits: only what the catalog knows is found by whoever takes it up.
pub(super) fn name_of(place: &VaultPlace, key: &KeyArgs) -> Result<String, Problem> {
    if key.key_file.is_some() || key.passphrase_file.is_some() {
        return Err(usage(
            "With --queue the service opens the vault, with the key that it finds: give none.",
        ));
    }
    place.name.clone().ok_or_else(|| {
        usage("With --queue the vault must be one that is known here: `tresor vault add`.")
    })
}

/// Puts a job into the queue of this machine, and says so.
pub(super) async fn enqueue(
    session: &Session,
    catalog: &Catalog,
    job: NewJob,
) -> Result<(), Problem> {
    put(catalog, &job).await?;
    let result = json!({ "job": job.id, "kind": job.kind, "subject": job.subject });
    let text = || {
        format!(
            "Job {} waits for `tresor serve`: tresor jobs show {}",
            job.id, job.id
        )
    };
    let printed = session.output.result("queued", &result, text);
    printed.map_err(print_problem)
}

/// The same without a word.
pub(super) async fn put(catalog: &Catalog, job: &NewJob) -> Result<(), Problem> {
    let ticket = Ticket {
        lane: LOCAL_LANE.to_owned(),
        not_before: Timestamp::now(),
        rank: 0,
    };
    let queued = catalog.enqueue(job, &ticket).await;
    queued.map_err(|error| Problem::from(&error))
}
