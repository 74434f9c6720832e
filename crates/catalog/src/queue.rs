//! Jobs that wait, in SQL.
//!
//! A job waits for as long as it has a row in `queue`. Taking it up deletes that row and gives the job
//! its owner and its lock key in one transaction; whoever finds no row to delete was too late, and when
//! the unique index refuses the key, the row stays.

use async_trait::async_trait;
use jiff::Timestamp;
use tresor_jobs::{JobQueue, Lease, LogError, LogErrorKind, NewJob, Owner, Ticket, WaitingJob};
use tresor_model::JobId;

use crate::{
    Catalog, CatalogError,
    job_list::decode_job,
    job_log::lease_lost,
    row::{Columns, to_json},
    write::Written,
};

/// So often a job is looked at again whose key somebody got between the look and the write: the next look finds
/// who that was, or the key free.
const LOOKS: u32 = 10;

/// What became of one attempt to take a job up.
enum Claimed {
    /// It has its owner and its key.
    Taken,
    /// This job has the key.
    Held(JobId),
    /// Somebody got the key at this moment.
    KeyGone,
}

#[async_trait]
impl JobQueue for Catalog {
    async fn enqueue(&self, job: &NewJob, ticket: &Ticket) -> Result<(), LogError> {
        let mut change = self.change().await?;
        let waiting = NewJob {
            lock: None,
            ..job.clone()
        };
        if !self
            .insert_job(&mut change, &waiting, None, Some(&ticket.lane))
            .await?
        {
            self.undo(change).await?;
            if self.was_enqueued(job, &ticket.lane).await? {
                return Ok(());
            }
            return Err(self.exists(job));
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
            "SELECT jobs.*, queue.not_before, queue.rank_number, queue.wanted_key \
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
        for _ in 0..LOOKS {
            match self.try_claim(job, owner).await? {
                Claimed::Taken => return Ok(Lease { job, epoch: 1 }),
                Claimed::Held(holder) => {
                    let kind = LogErrorKind::Busy { holder };
                    return Err(LogError::new(kind, job.to_string()));
                }
                Claimed::KeyGone => {}
            }
        }
        let reason = format!("job {job} could be neither taken up nor refused");
        Err(LogError::new(LogErrorKind::Unusable, &self.place).caused_by(reason))
    }

    async fn requeue(&self, job: JobId, ticket: &Ticket) -> Result<(), LogError> {
        let mut change = self.change().await?;
        let waits = sqlx::query(
            "UPDATE queue SET lane = $1, not_before = $2, rank_number = $3 WHERE job = $4",
        )
        .bind(&ticket.lane)
        .bind(ticket.not_before.as_microsecond())
        .bind(ticket.rank)
        .bind(job.to_string());
        if let Written::Rows(0) = self.write_in(&mut *change, waits).await? {
            self.undo(change).await?;
            return Err(self.waits_not(job).await);
        }
        let lane = sqlx::query("UPDATE jobs SET lane = $1 WHERE id = $2")
            .bind(&ticket.lane)
            .bind(job.to_string());
        self.write_in(&mut *change, lane).await?;
        Ok(self.commit(change).await?)
    }
}

impl Catalog {
    /// Takes the job up, or says why not. No transaction is open afterwards: another connection may not be
    /// free for as long as this one is held.
    async fn try_claim(&self, job: JobId, owner: &Owner) -> Result<Claimed, LogError> {
        let mut change = self.change().await?;
        // Whoever is at it, perhaps an earlier try of this very owner whose answer was lost, is waited for: then the
        // row is gone, or it is there.
        let left = sqlx::query("DELETE FROM queue WHERE job = $1 RETURNING wanted_key")
            .bind(job.to_string())
            .fetch_optional(&mut *change)
            .await
            .map_err(|error| self.failed(error))?;
        let Some(row) = left else {
            self.undo(change).await?;
            return Err(self.waits_not(job).await);
        };
        let wanted = self.columns(&row).optional_text("wanted_key")?;
        // In the same transaction: with SQLite nobody ends in between. With PostgreSQL somebody may have
        // taken the key since, which the unique index tells.
        let holder = self.lock_holder(&mut *change, wanted.as_deref()).await?;
        if let Some(holder) = holder {
            self.undo(change).await?;
            return Ok(Claimed::Held(holder));
        }
        let update = sqlx::query(
            "UPDATE jobs SET lock_key = $1, owner = $2, epoch = 1, heartbeat_at = $3 \
             WHERE id = $4 AND ended = 0",
        )
        .bind(wanted)
        .bind(to_json(&self.place, owner)?)
        .bind(Timestamp::now().as_microsecond())
        .bind(job.to_string());
        match self.write_in(&mut *change, update).await? {
            Written::Rows(_) => self.commit(change).await?,
            _ => {
                self.undo(change).await?;
                return Ok(Claimed::KeyGone);
            }
        }
        Ok(Claimed::Taken)
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
