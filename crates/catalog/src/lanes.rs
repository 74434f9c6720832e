//! Jobs by lane: what a host may see, and how much of it there is.

use tresor_jobs::{Lease, LogError, NewJob, Owner};
use tresor_model::JobId;

use crate::{Catalog, job_log::not_found};

impl Catalog {
    /// Records a job that its host begins itself: as `JobLog::begin`, and the job is of the host's lane.
    ///
    /// # Errors
    /// As `JobLog::begin`.
    pub async fn begin_in(
        &self,
        lane: &str,
        job: &NewJob,
        owner: &Owner,
    ) -> Result<Lease, LogError> {
        self.record(job, owner, Some(lane)).await
    }

    /// The lane in which a job waits or has waited.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn lane_of(&self, job: JobId) -> Result<Option<String>, LogError> {
        let row = sqlx::query("SELECT lane FROM jobs WHERE id = $1")
            .bind(job.to_string())
            .fetch_optional(&self.pool)
            .await
            .map_err(|error| self.failed(error))?;
        let row = row.ok_or_else(|| not_found(job))?;
        Ok(self.columns(&row).optional_text("lane")?)
    }

    /// How many jobs of a lane have not ended.
    ///
    /// # Errors
    /// `Unusable` and its kin.
    pub async fn unfinished_in(&self, lane: &str) -> Result<u64, LogError> {
        let query = sqlx::query("SELECT count(*) AS jobs FROM jobs WHERE lane = $1 AND ended = 0");
        let row = query.bind(lane).fetch_one(&self.pool).await;
        let row = row.map_err(|error| self.failed(error))?;
        Ok(self.columns(&row).unsigned("jobs")?)
    }

    /// Characters of all events of a job.
    ///
    /// # Errors
    /// `Unusable` and its kin.
    pub async fn story_size(&self, job: JobId) -> Result<u64, LogError> {
        let query = "SELECT coalesce(sum(length(event)), 0) AS size FROM job_events WHERE job = $1";
        let query = sqlx::query(query).bind(job.to_string());
        let row = query.fetch_one(&self.pool).await;
        let row = row.map_err(|error| self.failed(error))?;
        Ok(self.columns(&row).unsigned("size")?)
    }
}
