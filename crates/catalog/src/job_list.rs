//! Lists of jobs, and what a row of one says.

use tresor_jobs::{JobFilter, JobHeader, NewJob};

use crate::{
    Catalog, CatalogError,
    list::Conditions,
    row::{Columns, from_json, to_word},
};

pub(crate) const SELECT_JOBS: &str = "SELECT jobs.*, job_progress.progress, queue.wanted_key FROM jobs \
     LEFT JOIN job_progress ON job_progress.job = jobs.id \
     LEFT JOIN queue ON queue.job = jobs.id";

impl Catalog {
    pub(crate) async fn list_jobs(
        &self,
        filter: &JobFilter,
    ) -> Result<Vec<JobHeader>, CatalogError> {
        let kind = filter.kind.map(|kind| to_word(&self.place, &kind));
        let state = filter.state.map(|state| to_word(&self.place, &state));
        let conditions = Conditions::default()
            .text("jobs.subject = ", filter.subject.as_ref())
            .text("jobs.kind = ", kind.transpose()?)
            .text("jobs.state = ", state.transpose()?)
            .text("jobs.lane = ", filter.lane.as_ref())
            .text("jobs.id < ", filter.before)
            .only(filter.unfinished, "jobs.ended = 0");
        let limit = filter.limit.map_or(i64::MAX, i64::from);
        let order = "jobs.id DESC";
        self.select(SELECT_JOBS, conditions, order, limit, decode_header)
            .await
    }
}

/// A job with the lock key that it holds, or will need.
pub(crate) fn decode_job(row: &Columns<'_>) -> Result<NewJob, CatalogError> {
    let (held, wanted) = (
        row.optional_text("lock_key")?,
        row.optional_text("wanted_key")?,
    );
    Ok(NewJob {
        id: row.id("id")?,
        kind: row.word("kind")?,
        subject: row.text("subject")?,
        lock: held.or(wanted),
        params: row.json("params")?,
        sub_tasks: row.json("sub_tasks")?,
        created_at: row.time("created_at")?,
    })
}

pub(crate) fn decode_header(row: &Columns<'_>) -> Result<JobHeader, CatalogError> {
    let progress = row.optional_text("progress")?;
    Ok(JobHeader {
        job: decode_job(row)?,
        state: row.word("state")?,
        owner: row.json("owner")?,
        epoch: row.unsigned("epoch")?,
        heartbeat_at: row.time("heartbeat_at")?,
        cancel_requested: row.flag("cancel_requested")?,
        // Only for show: a form of another release is as good as none.
        lane: row.optional_text("lane")?,
        progress: progress.and_then(|text| from_json(&text).ok()),
    })
}
