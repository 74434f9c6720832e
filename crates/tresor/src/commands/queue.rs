//! Jobs that are left to `tresor serve` of this machine, where the API has no word for them.

use jiff::Timestamp;
use tresor_catalog::Catalog;
use tresor_jobs::{JobQueue as _, NewJob, Ticket};
use tresor_problem::Problem;
use tresor_service::LOCAL_LANE;

/// Puts a job into the queue of this machine.
pub(super) async fn put(catalog: &Catalog, job: &NewJob) -> Result<(), Problem> {
    let ticket = Ticket {
        lane: LOCAL_LANE.to_owned(),
        not_before: Timestamp::now(),
        rank: 0,
    };
    let queued = catalog.enqueue(job, &ticket).await;
    queued.map_err(|error| Problem::from(&error))
}
