//! Calls of the job log that were made before: their answer was lost on the way, and what they wanted is
//! there. Looked for only when a call has been refused.

use tresor_jobs::{JobHeader, Lease, LogError, NewJob, Owner, RecordedEvent};
use tresor_model::JobState;

use crate::{
    Catalog,
    job_list::{SELECT_JOBS, decode_header},
    row::{count, micros, to_json, to_word},
};

impl Catalog {
    /// Whether this very event is the last one of the story, put there under this lease.
    pub(crate) async fn was_appended(
        &self,
        lease: &Lease,
        event: &RecordedEvent,
        state: JobState,
    ) -> Result<bool, LogError> {
        let row = sqlx::query(
            "SELECT job_events.at, job_events.event FROM jobs \
             JOIN job_events ON job_events.job = jobs.id \
             WHERE jobs.id = $1 AND jobs.epoch = $2 AND jobs.state = $3 \
             AND job_events.seq = $4 AND jobs.next_seq = $5",
        )
        .bind(lease.job.to_string())
        .bind(count(lease.epoch))
        .bind(to_word(&self.place, &state)?)
        .bind(count(event.seq))
        .bind(count(event.seq.saturating_add(1)))
        .fetch_optional(&self.pool)
        .await
        .map_err(|error| self.failed(error))?;
        let Some(row) = row else {
            return Ok(false);
        };
        let row = self.columns(&row);
        let same_time = micros(row.time("at")?) == micros(event.at);
        Ok(same_time && row.text("event")? == to_json(&self.place, &event.event)?)
    }

    /// Whether this very job was begun by this owner, and nobody has it since; `None` when there is no job
    /// of that id.
    pub(crate) async fn was_begun(
        &self,
        job: &NewJob,
        owner: &Owner,
        lane: Option<&str>,
    ) -> Result<Option<bool>, LogError> {
        let held = |header: JobHeader| {
            header.owner.as_ref() == Some(owner)
                && header.epoch == 1
                && !header.state.is_final()
                && is_same(&header, job, lane)
        };
        Ok(self.header(job).await?.map(held))
    }

    /// Whether this very job waits in the lane.
    pub(crate) async fn was_enqueued(&self, job: &NewJob, lane: &str) -> Result<bool, LogError> {
        let waits = |header: JobHeader| {
            header.owner.is_none() && header.epoch == 0 && is_same(&header, job, Some(lane))
        };
        Ok(self.header(job).await?.is_some_and(waits))
    }

    async fn header(&self, job: &NewJob) -> Result<Option<JobHeader>, LogError> {
        let select = format!("{SELECT_JOBS} WHERE jobs.id = $1");
        let row = sqlx::query(sqlx::AssertSqlSafe(select))
            .bind(job.id.to_string())
            .fetch_optional(&self.pool)
            .await
            .map_err(|error| self.failed(error))?;
        let header = row.map(|row| decode_header(&self.columns(&row)));
        Ok(header.transpose()?)
    }
}

/// Times are kept in microseconds.
fn is_same(there: &JobHeader, job: &NewJob, lane: Option<&str>) -> bool {
    let created_at = there.job.created_at;
    micros(created_at) == micros(job.created_at)
        && there.lane.as_deref() == lane
        && there.job
            == NewJob {
                created_at,
                ..job.clone()
            }
}
