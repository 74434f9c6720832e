//! Figures of the moment, each by an index or of few rows: what is watched every few seconds.

use jiff::Timestamp;
use tresor_model::VaultId;

use crate::{Catalog, CatalogError, row::Columns};

/// Jobs that wait in a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingJobs {
    /// The lane.
    pub lane: String,
    /// How many.
    pub jobs: u64,
    /// When the oldest of them was made.
    pub oldest_at: Timestamp,
}

impl Catalog {
    /// Jobs that wait, by lane.
    ///
    /// # Errors
    /// `Unusable` and its kin.
    pub async fn waiting_jobs(&self) -> Result<Vec<WaitingJobs>, CatalogError> {
        let select = "SELECT queue.lane AS lane, count(*) AS jobs, min(jobs.created_at) AS oldest_at \
             FROM queue JOIN jobs ON jobs.id = queue.job GROUP BY queue.lane ORDER BY queue.lane";
        self.figures(select, None, |row| {
            Ok(WaitingJobs {
                lane: row.text("lane")?,
                jobs: row.unsigned("jobs")?,
                oldest_at: row.time("oldest_at")?,
            })
        })
        .await
    }

    /// Jobs that run, by kind.
    ///
    /// # Errors
    /// `Unusable` and its kin.
    pub async fn running_jobs(&self) -> Result<Vec<(String, u64)>, CatalogError> {
        let select = "SELECT kind AS name, count(*) AS number FROM jobs \
             WHERE ended = 0 AND state <> 'queued' GROUP BY kind ORDER BY kind";
        self.figures(select, None, named).await
    }

    /// Open alerts, by the code of their problem.
    ///
    /// # Errors
    /// `Unusable` and its kin.
    pub async fn open_alerts(&self) -> Result<Vec<(String, u64)>, CatalogError> {
        let select = "SELECT code AS name, count(*) AS number FROM alerts \
             WHERE resolved_at IS NULL GROUP BY code ORDER BY code";
        self.figures(select, None, named).await
    }

    /// Notifications that wait to be sent, by channel.
    ///
    /// # Errors
    /// `Unusable` and its kin.
    pub async fn waiting_notifications(&self) -> Result<Vec<(String, u64)>, CatalogError> {
        let select = "SELECT channel AS name, count(*) AS number FROM outbox \
             WHERE sent_at IS NULL AND given_up_at IS NULL GROUP BY channel ORDER BY channel";
        self.figures(select, None, named).await
    }

    /// When the last job of each kind that was completed for a subject ended.
    ///
    /// # Errors
    /// `Unusable` and its kin.
    pub async fn last_completed(
        &self,
        subject: &str,
        kind: &str,
    ) -> Result<Option<Timestamp>, CatalogError> {
        let select = "SELECT max(at) AS at FROM job_events WHERE job = (SELECT id FROM jobs \
             WHERE subject = $1 AND kind = $2 AND state IN ('completed', 'completed_with_warnings') \
             ORDER BY id DESC LIMIT 1)";
        let values = Some((subject, Some(kind)));
        let found = self.figures(select, values, |row| row.optional_time("at"));
        Ok(found.await?.into_iter().flatten().next())
    }

    /// When something in a vault was last read back and right, by what this installation has verified.
    ///
    /// # Errors
    /// `Unusable` and its kin.
    pub async fn last_verified(&self, vault: VaultId) -> Result<Option<Timestamp>, CatalogError> {
        let select = "SELECT max(verified_at) AS at FROM verified WHERE vault = $1";
        let vault = vault.to_string();
        let values = Some((vault.as_str(), None));
        let found = self.figures(select, values, |row| row.optional_time("at"));
        Ok(found.await?.into_iter().flatten().next())
    }

    async fn figures<T>(
        &self,
        select: &'static str,
        values: Option<(&str, Option<&str>)>,
        decode: impl Fn(&Columns<'_>) -> Result<T, CatalogError>,
    ) -> Result<Vec<T>, CatalogError> {
        let mut query = sqlx::query(select);
        if let Some((first, second)) = values {
            query = query.bind(first.to_owned());
            if let Some(second) = second {
                query = query.bind(second.to_owned());
            }
        }
        let rows = query.fetch_all(&self.pool).await;
        let rows = rows.map_err(|error| self.failed(error))?;
        rows.iter().map(|row| decode(&self.columns(row))).collect()
    }
}

fn named(row: &Columns<'_>) -> Result<(String, u64), CatalogError> {
    Ok((row.text("name")?, row.unsigned("number")?))
}
