//! The job log in SQL.
//!
//! Every refusal is part of the statement that would make the change, so that two processes can
//! never both be let through: the lock key by a unique index over unfinished jobs, the lease and
//! the event's number by the `WHERE` of an update whose row count says who won.

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::{Any, AnyConnection, Executor};
use tresor_jobs::{
    JobFilter, JobHeader, JobLog, JobStory, Lease, LogError, LogErrorKind, NewJob, Owner, Progress,
    RecordedEvent,
};
use tresor_model::{JobId, JobState};

use crate::{
    Catalog, CatalogError, CatalogErrorKind,
    job_list::{SELECT_JOBS, decode_header},
    row::{count, to_json, to_word},
    write::Written,
};

/// How often a refused job looks for the holder of its key, who may end at that very moment.
const TRIES: u32 = 20;

impl From<CatalogError> for LogError {
    fn from(error: CatalogError) -> Self {
        let kind = match error.kind {
            CatalogErrorKind::Fenced => LogErrorKind::LeaseLost,
            _ => LogErrorKind::Unusable,
        };
        Self::new(kind, error.context.clone()).caused_by(error)
    }
}

pub(crate) fn not_found(job: JobId) -> LogError {
    LogError::new(LogErrorKind::NotFound, job.to_string())
}

pub(crate) fn lease_lost(job: JobId) -> LogError {
    LogError::new(LogErrorKind::LeaseLost, job.to_string())
}

/// Turns "no row was changed" into `LeaseLost`.
fn held(lease: &Lease, written: &Written) -> Result<(), LogError> {
    match written {
        Written::Rows(1..) => Ok(()),
        _ => Err(lease_lost(lease.job)),
    }
}

#[async_trait]
impl JobLog for Catalog {
    async fn begin(&self, job: &NewJob, owner: &Owner) -> Result<Lease, LogError> {
        self.record(job, owner, None).await
    }

    async fn append(
        &self,
        lease: &Lease,
        event: &RecordedEvent,
        state: JobState,
    ) -> Result<(), LogError> {
        let mut change = self.change().await?;
        let failed = |error| LogError::from(self.failed(error));
        let update = sqlx::query(
            "UPDATE jobs SET state = $1, ended = $2, next_seq = next_seq + 1 \
             WHERE id = $3 AND epoch = $4 AND next_seq = $5 AND ended = 0",
        )
        .bind(to_word(&self.place, &state)?)
        .bind(i64::from(state.is_final()))
        .bind(lease.job.to_string())
        .bind(count(lease.epoch))
        .bind(count(event.seq));
        let updated = self.write_in(&mut *change, update).await?;
        if updated.rows() == 0 {
            self.undo(change).await?;
            return match self.was_appended(lease, event, state).await? {
                true => Ok(()),
                false => Err(lease_lost(lease.job)),
            };
        }
        sqlx::query("INSERT INTO job_events (job, seq, at, event) VALUES ($1, $2, $3, $4)")
            .bind(lease.job.to_string())
            .bind(count(event.seq))
            .bind(event.at.as_microsecond())
            .bind(to_json(&self.place, &event.event)?)
            .execute(&mut *change)
            .await
            .map_err(failed)?;
        if state.is_final() {
            self.tally_end(&mut change, lease.job, state).await?;
        }
        change.commit().await.map_err(failed)
    }

    async fn load(&self, job: JobId) -> Result<JobStory, LogError> {
        let failed = |error| LogError::from(self.failed(error));
        // One transaction, so that header and events belong together.
        let mut snapshot = self.pool.begin().await.map_err(failed)?;
        let row = sqlx::query(sqlx::AssertSqlSafe(format!(
            "{SELECT_JOBS} WHERE jobs.id = $1"
        )))
        .bind(job.to_string())
        .fetch_optional(&mut *snapshot)
        .await
        .map_err(failed)?
        .ok_or_else(|| not_found(job))?;
        let header = decode_header(&self.columns(&row))?;
        let events = self.events(&mut snapshot, job).await?;
        snapshot.rollback().await.map_err(failed)?;
        Ok(JobStory { header, events })
    }

    async fn list(&self, filter: &JobFilter) -> Result<Vec<JobHeader>, LogError> {
        Ok(self.list_jobs(filter).await?)
    }

    async fn take_over(&self, job: JobId, epoch: u64, owner: &Owner) -> Result<Lease, LogError> {
        let next = epoch.saturating_add(1);
        let update = sqlx::query(
            "UPDATE jobs SET epoch = $1, owner = $2, heartbeat_at = $3 \
             WHERE id = $4 AND epoch = $5 AND epoch > 0 AND ended = 0",
        )
        .bind(count(next))
        .bind(to_json(&self.place, owner)?)
        .bind(Timestamp::now().as_microsecond())
        .bind(job.to_string())
        .bind(count(epoch));
        if let Written::Rows(0) = self.write(update).await? {
            self.cancel_requested(job).await?; // is there such a job at all?
            return Err(lease_lost(job));
        }
        let epoch = next;
        Ok(Lease { job, epoch })
    }

    async fn request_cancel(&self, job: JobId) -> Result<(), LogError> {
        let update =
            sqlx::query("UPDATE jobs SET cancel_requested = 1 WHERE id = $1 AND ended = 0")
                .bind(job.to_string());
        if let Written::Rows(0) = self.write(update).await? {
            self.cancel_requested(job).await?; // ended, or not there
        }
        Ok(())
    }

    async fn cancel_requested(&self, job: JobId) -> Result<bool, LogError> {
        let row = sqlx::query("SELECT cancel_requested FROM jobs WHERE id = $1")
            .bind(job.to_string())
            .fetch_optional(&self.pool)
            .await
            .map_err(|error| self.failed(error))?
            .ok_or_else(|| not_found(job))?;
        Ok(self.columns(&row).flag("cancel_requested")?)
    }

    async fn heartbeat(&self, lease: &Lease, at: Timestamp) -> Result<(), LogError> {
        let update = sqlx::query(
            "UPDATE jobs SET heartbeat_at = $1 WHERE id = $2 AND epoch = $3 AND ended = 0",
        )
        .bind(at.as_microsecond())
        .bind(lease.job.to_string())
        .bind(count(lease.epoch));
        held(lease, &self.write(update).await?)
    }

    async fn set_progress(&self, lease: &Lease, progress: &Progress) -> Result<(), LogError> {
        let update = sqlx::query(
            "INSERT INTO job_progress (job, progress) \
             SELECT id, $1 FROM jobs WHERE id = $2 AND epoch = $3 AND ended = 0 \
             ON CONFLICT (job) DO UPDATE SET progress = excluded.progress",
        )
        .bind(to_json(&self.place, progress)?)
        .bind(lease.job.to_string())
        .bind(count(lease.epoch));
        held(lease, &self.write(update).await?)
    }
}

impl Catalog {
    /// Records a job in the hands of `owner`.
    pub(crate) async fn record(
        &self,
        job: &NewJob,
        owner: &Owner,
        lane: Option<&str>,
    ) -> Result<Lease, LogError> {
        let begun = Lease {
            job: job.id,
            epoch: 1,
        };
        for _ in 0..TRIES {
            let mut change = self.change().await?;
            if self.insert_job(&mut change, job, Some(owner), lane).await? {
                self.commit(change).await?;
                return Ok(begun);
            }
            // Its connection is needed to look.
            self.undo(change).await?;
            match self.was_begun(job, owner, lane).await? {
                Some(true) => return Ok(begun),
                Some(false) => return Err(self.exists(job)),
                None => {}
            }
            if let Some(holder) = self.lock_holder(&self.pool, job.lock.as_deref()).await? {
                let kind = LogErrorKind::Busy { holder };
                return Err(LogError::new(kind, &job.subject));
            }
        }
        let reason = format!("job {} could be neither recorded nor refused", job.id);
        Err(LogError::new(LogErrorKind::Unusable, &self.place).caused_by(reason))
    }

    /// That another job has the id.
    pub(crate) fn exists(&self, job: &NewJob) -> LogError {
        let reason = format!("there is a job {} already", job.id);
        LogError::new(LogErrorKind::Unusable, &self.place).caused_by(reason)
    }

    /// Whether the job was recorded; not when another one holds its key (or has its id). One without an
    /// owner waits.
    pub(crate) async fn insert_job(
        &self,
        connection: &mut AnyConnection,
        job: &NewJob,
        owner: Option<&Owner>,
        lane: Option<&str>,
    ) -> Result<bool, CatalogError> {
        let insert = sqlx::query(
            "INSERT INTO jobs (id, kind, subject, lock_key, params, sub_tasks, created_at, \
             state, ended, next_seq, owner, epoch, heartbeat_at, cancel_requested, lane) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, 0, $9, $10, $7, 0, $11)",
        )
        .bind(job.id.to_string())
        .bind(to_word(&self.place, &job.kind)?)
        .bind(&job.subject)
        .bind(job.lock.clone())
        .bind(job.params.to_string())
        .bind(to_json(&self.place, &job.sub_tasks)?)
        .bind(job.created_at.as_microsecond())
        .bind(to_word(&self.place, &JobState::Queued)?)
        .bind(to_json(&self.place, &owner)?)
        .bind(i64::from(owner.is_some()))
        .bind(lane);
        Ok(matches!(
            self.write_in(connection, insert).await?,
            Written::Rows(_)
        ))
    }

    /// The unfinished job that has this key.
    pub(crate) async fn lock_holder(
        &self,
        executor: impl Executor<'_, Database = Any>,
        lock: Option<&str>,
    ) -> Result<Option<JobId>, LogError> {
        let row = sqlx::query("SELECT id FROM jobs WHERE lock_key = $1 AND ended = 0")
            .bind(lock.map(str::to_owned))
            .fetch_optional(executor)
            .await
            .map_err(|error| self.failed(error))?;
        Ok(row.map(|row| self.columns(&row).id("id")).transpose()?)
    }

    pub(crate) async fn events(
        &self,
        connection: &mut AnyConnection,
        job: JobId,
    ) -> Result<Vec<RecordedEvent>, CatalogError> {
        let rows = sqlx::query("SELECT seq, at, event FROM job_events WHERE job = $1 ORDER BY seq")
            .bind(job.to_string())
            .fetch_all(connection)
            .await
            .map_err(|error| self.failed(error))?;
        rows.iter()
            .map(|row| {
                let row = self.columns(row);
                Ok(RecordedEvent {
                    seq: row.unsigned("seq")?,
                    at: row.time("at")?,
                    event: row.json("event")?,
                })
            })
            .collect()
    }
}
