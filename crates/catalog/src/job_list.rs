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

const NEWEST_FIRST: &str = "jobs.id DESC";

impl Catalog {
    pub(crate) async fn list_jobs(
        &self,
        filter: &JobFilter,
    ) -> Result<Vec<JobHeader>, CatalogError> {
        let conditions = self.conditions_of(filter)?;
        let limit = filter.limit.map_or(i64::MAX, i64::from);
        self.select(SELECT_JOBS, conditions, NEWEST_FIRST, limit, decode_header)
            .await
    }

    fn conditions_of(&self, filter: &JobFilter) -> Result<Conditions, CatalogError> {
        let kind = filter.kind.map(|kind| to_word(&self.place, &kind));
        let state = filter.state.map(|state| to_word(&self.place, &state));
        Ok(Conditions::default()
            .text("jobs.subject = ", filter.subject.as_ref())
            .text("jobs.kind = ", kind.transpose()?)
            .text("jobs.state = ", state.transpose()?)
            .text("jobs.lane = ", filter.lane.as_ref())
            .text("jobs.id < ", filter.before)
            .only(filter.unfinished, "jobs.ended = 0"))
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

#[cfg(test)]
mod tests {
    use sqlx::{AssertSqlSafe, Row as _};
    use tresor_model::{JobId, JobKind, JobState};

    use super::*;

    /// A page costs what is on it: the database finds it by an index, and need not sort.
    #[tokio::test]
    async fn each_filter_has_its_index() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("catalog.db");
        let catalog = Catalog::open(&path).await.unwrap();
        let page = JobFilter {
            before: Some(JobId::generate()),
            limit: Some(50),
            ..JobFilter::default()
        };
        for (filter, index) in [
            (page.clone(), "sqlite_autoindex_jobs_1 (id<?)"),
            (
                with(&page, |filter| filter.subject = Some("a".into())),
                "jobs_by_subject (subject=?",
            ),
            (
                with(&page, |filter| filter.kind = Some(JobKind::Copy)),
                "jobs_by_kind (kind=?",
            ),
            (
                with(&page, |filter| filter.state = Some(JobState::Failed)),
                "jobs_by_state (state=?",
            ),
            (
                with(&page, |filter| filter.lane = Some("a".into())),
                "jobs_by_lane (lane=?",
            ),
            (
                with(&page, |filter| filter.unfinished = true),
                "jobs_unfinished (id<?)",
            ),
        ] {
            let text = catalog.conditions_of(&filter).unwrap();
            let text = text.query(SELECT_JOBS, NEWEST_FIRST);
            let explain = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {text}")));
            let plan = explain.fetch_all(&catalog.pool).await.unwrap();
            let plan: Vec<String> = plan.iter().map(|row| row.get("detail")).collect();
            let jobs = plan.iter().find(|step| step.contains(" jobs "));
            assert!(jobs.unwrap().contains(index), "{plan:?}");
            let sorts = plan.iter().any(|step| step.contains("TEMP B-TREE"));
            assert!(!sorts, "{plan:?}");
        }
    }

    fn with(filter: &JobFilter, change: fn(&mut JobFilter)) -> JobFilter {
        let mut filter = filter.clone();
        change(&mut filter);
        filter
    }
}
