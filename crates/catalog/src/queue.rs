//! Jobs that wait, in SQL.
//!
//! A job waits for as long as it has a row in `queue`. Taking it up deletes that row and gives the job
//! its owner and its lock key in one transaction; whoever finds no row to delete was too late, and when
//! the unique index refuses the key, the row stays.

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::{Any, Transaction};
use tresor_jobs::{JobQueue, Lease, LogError, LogErrorKind, NewJob, Owner, Ticket, WaitingJob};
use tresor_model::JobId;

use crate::{
    Catalog, CatalogError,
    job_log::{decode_job, lease_lost},
    row::{Columns, to_json},
};

#[async_trait]
impl JobQueue for Catalog {
    async fn enqueue(&self, job: &NewJob, ticket: &Ticket) -> Result<(), LogError> {
        let mut change = self.change().await?;
        let waiting = NewJob {
            lock: None,
            ..job.clone()
        };
        if !self.insert_job(&mut change, &waiting, None).await? {
            let reason = format!("there is a job {} already", job.id);
            return Err(LogError::new(LogErrorKind::Unusable, &self.place).caused_by(reason));
        }
        let inserted = sqlx::query(
            "INSERT INTO queue (job, lane, not_before, rank_number, wanted_key) \
             VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(job.id.to_string())
        .bind(&ticket.lane)
        .bind(ticket.not_before.as_microsecond())
        .bind(ticket.rank)
        .bind(job.lock.clone())
        .execute(&mut *change)
        .await;
        inserted.map_err(|error| self.failed(error))?;
        Ok(change.commit().await.map_err(|error| self.failed(error))?)
    }

    async fn due(
        &self,
        lane: &str,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<WaitingJob>, LogError> {
        let rows = sqlx::query(
            "SELECT jobs.*, queue.lane, queue.not_before, queue.rank_number, queue.wanted_key \
             FROM queue JOIN jobs ON jobs.id = queue.job \
             WHERE queue.lane = $1 AND queue.not_before <= $2 \
             ORDER BY queue.rank_number, jobs.created_at, jobs.id LIMIT $3",
        )
        .bind(lane)
        .bind(now.as_microsecond())
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await
        .map_err(|error| self.failed(error))?;
        let decoded = rows.iter().map(|row| decode(&self.columns(row)));
        Ok(decoded.collect::<Result<_, CatalogError>>()?)
    }

    async fn claim(&self, job: JobId, owner: &Owner) -> Result<Lease, LogError> {
        let mut change = self.change().await?;
        let wanted = self.leave_queue(&mut change, job).await?;
        let updated = sqlx::query(
            "UPDATE jobs SET lock_key = $1, owner = $2, epoch = 1, heartbeat_at = $3 \
             WHERE id = $4 AND ended = 0",
        )
        .bind(wanted.clone())
        .bind(to_json(&self.place, owner)?)
        .bind(Timestamp::now().as_microsecond())
        .bind(job.to_string())
        .execute(&mut *change)
        .await;
        match updated {
            Ok(_) => {}
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
                let undone = change.rollback().await;
                undone.map_err(|error| self.failed(error))?;
                let context = job.to_string();
                return Err(match self.lock_holder(wanted.as_deref()).await? {
                    Some(holder) => LogError::new(LogErrorKind::Busy { holder }, context),
                    // It has ended at this moment: the next try may succeed.
                    None => LogError::new(LogErrorKind::Busy { holder: job }, context),
                });
            }
            Err(error) => return Err(self.failed(error).into()),
        }
        change.commit().await.map_err(|error| self.failed(error))?;
        Ok(Lease { job, epoch: 1 })
    }

    async fn requeue(&self, job: JobId, ticket: &Ticket) -> Result<(), LogError> {
        let updated = sqlx::query(
            "UPDATE queue SET lane = $1, not_before = $2, rank_number = $3 WHERE job = $4",
        )
        .bind(&ticket.lane)
        .bind(ticket.not_before.as_microsecond())
        .bind(ticket.rank)
        .bind(job.to_string())
        .execute(&self.pool)
        .await
        .map_err(|error| self.failed(error))?;
        match updated.rows_affected() {
            0 => Err(self.waits_not(job).await),
            _ => Ok(()),
        }
    }
}

impl Catalog {
    /// Takes a job's row away; gives the key that it needs.
    async fn leave_queue(
        &self,
        change: &mut Transaction<'_, Any>,
        job: JobId,
    ) -> Result<Option<String>, LogError> {
        let row = sqlx::query("DELETE FROM queue WHERE job = $1 RETURNING wanted_key")
            .bind(job.to_string())
            .fetch_optional(&mut **change)
            .await
            .map_err(|error| self.failed(error))?;
        match row {
            Some(row) => Ok(self.columns(&row).optional_text("wanted_key")?),
            None => Err(self.waits_not(job).await),
        }
    }

    /// Why a job does not wait: it was taken up, or it is not there.
    async fn waits_not(&self, job: JobId) -> LogError {
        use tresor_jobs::JobLog as _;
        match self.cancel_requested(job).await {
            Ok(_) => lease_lost(job),
            Err(error) => error,
        }
    }
}

fn decode(row: &Columns<'_>) -> Result<WaitingJob, CatalogError> {
    Ok(WaitingJob {
        job: decode_job(row)?,
        ticket: Ticket {
            lane: row.text("lane")?,
            not_before: row.time("not_before")?,
            rank: row.signed("rank_number")?,
        },
        cancel_requested: row.flag("cancel_requested")?,
    })
}
