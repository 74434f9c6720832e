//! Alerts: problems of a subject that last. One that comes again is counted, not told anew.

use jiff::Timestamp;
use sqlx::AnyConnection;
use tresor_model::AlertId;
use tresor_problem::Problem;

use crate::{
    Catalog, CatalogError, NotificationRecord, Page,
    list::Conditions,
    row::{Columns, micros, to_json},
};

/// A problem of a subject that lasts, or has lasted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertRecord {
    /// Its id; ids sort by time.
    pub id: AlertId,
    /// What it is about: `vm:<id>`, `host:<id>`, `vault:<id>`.
    pub subject: String,
    /// What, as it was seen last; its code is what tells it from others.
    pub problem: Problem,
    /// When it was seen first.
    pub since: Timestamp,
    /// When it was seen last.
    pub last_seen_at: Timestamp,
    /// How often it was seen.
    pub count: u64,
    /// When it was over.
    pub resolved_at: Option<Timestamp>,
}

/// Which alerts to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AlertFilter {
    /// Only those about this.
    pub subject: Option<String>,
    /// Only those that are not over.
    pub open: bool,
}

/// What is to be told of alerts that opened, or are over.
pub type Tell<'a> = &'a (dyn Fn(&[AlertRecord]) -> Vec<NotificationRecord> + Send + Sync);

impl Catalog {
    /// Notes that a subject has a problem: opens an alert (its count is 1 then), or counts the open one up.
    ///
    /// # Errors
    /// `Unusable` and its kin.
    pub async fn raise(
        &self,
        subject: &str,
        problem: &Problem,
        now: Timestamp,
    ) -> Result<AlertRecord, CatalogError> {
        let mut change = self.change().await?;
        let raised = self
            .upsert_alert(&mut change, (subject, problem), now)
            .await?;
        self.commit(change).await?;
        Ok(raised)
    }

    /// The same for several at once, and what is to be told of those that opened: both, or none of it. Gives
    /// those that opened.
    ///
    /// # Errors
    /// `Unusable` and its kin.
    pub async fn raise_telling(
        &self,
        problems: &[(String, Problem)],
        now: Timestamp,
        tell: Tell<'_>,
    ) -> Result<Vec<AlertRecord>, CatalogError> {
        let mut change = self.change().await?;
        let mut opened = Vec::new();
        for (subject, problem) in problems {
            let raised = self
                .upsert_alert(&mut change, (subject, problem), now)
                .await?;
            opened.extend((raised.count == 1).then_some(raised));
        }
        self.tell(&mut change, &opened, tell).await?;
        self.commit(change).await?;
        Ok(opened)
    }

    async fn upsert_alert(
        &self,
        change: &mut AnyConnection,
        (subject, problem): (&str, &Problem),
        now: Timestamp,
    ) -> Result<AlertRecord, CatalogError> {
        let row = sqlx::query(
            "INSERT INTO alerts (id, subject, code, problem, since, last_seen_at, times) \
             VALUES ($1, $2, $3, $4, $5, $5, 1) \
             ON CONFLICT (subject, code) WHERE resolved_at IS NULL \
             DO UPDATE SET times = alerts.times + 1, problem = excluded.problem, \
             last_seen_at = excluded.last_seen_at RETURNING *",
        )
        .bind(AlertId::generate().to_string())
        .bind(subject)
        .bind(&problem.code)
        .bind(to_json(&self.place, problem)?)
        .bind(micros(now))
        .fetch_one(change)
        .await
        .map_err(|error| self.failed(error))?;
        decode(&self.columns(&row))
    }

    async fn tell(
        &self,
        change: &mut AnyConnection,
        alerts: &[AlertRecord],
        tell: Tell<'_>,
    ) -> Result<(), CatalogError> {
        if alerts.is_empty() {
            return Ok(());
        }
        for notification in tell(alerts) {
            self.insert_notification(change, &notification).await?;
        }
        Ok(())
    }

    /// Notes that a subject's problem is over; without a code, that all of its problems are. Gives the
    /// alerts that were open.
    ///
    /// # Errors
    /// `Unusable` and its kin.
    pub async fn resolve(
        &self,
        subject: &str,
        code: Option<&str>,
        now: Timestamp,
    ) -> Result<Vec<AlertRecord>, CatalogError> {
        self.resolve_telling(subject, code, now, &|_| Vec::new())
            .await
    }

    /// The same, and what is to be told of it: both, or none of it.
    ///
    /// # Errors
    /// `Unusable` and its kin.
    pub async fn resolve_telling(
        &self,
        subject: &str,
        code: Option<&str>,
        now: Timestamp,
        tell: Tell<'_>,
    ) -> Result<Vec<AlertRecord>, CatalogError> {
        let update = sqlx::query(
            "UPDATE alerts SET resolved_at = $1 WHERE subject = $2 AND resolved_at IS NULL \
             AND ($3 IS NULL OR code = $3) RETURNING *",
        )
        .bind(micros(now))
        .bind(subject)
        .bind(code.map(str::to_owned));
        let mut change = self.change().await?;
        let rows = update.fetch_all(&mut *change).await;
        let rows = rows.map_err(|error| self.failed(error))?;
        let over = rows.iter().map(|row| decode(&self.columns(row)));
        let over = over.collect::<Result<Vec<_>, _>>()?;
        self.tell(&mut change, &over, tell).await?;
        self.commit(change).await?;
        Ok(over)
    }

    /// Alerts that pass the filter, newest first; the key is the id.
    ///
    /// # Errors
    /// `Unusable` and its kin.
    pub async fn alerts(
        &self,
        filter: &AlertFilter,
        page: &Page<AlertId>,
    ) -> Result<Vec<AlertRecord>, CatalogError> {
        let conditions = Conditions::default()
            .text("subject = ", filter.subject.as_ref())
            .only(filter.open, "resolved_at IS NULL")
            .text("id < ", page.after);
        let select = "SELECT * FROM alerts";
        self.select(select, conditions, "id DESC", page.rows(), decode)
            .await
    }
}

fn decode(row: &Columns<'_>) -> Result<AlertRecord, CatalogError> {
    Ok(AlertRecord {
        id: row.id("id")?,
        subject: row.text("subject")?,
        problem: row.json("problem")?,
        since: row.time("since")?,
        last_seen_at: row.time("last_seen_at")?,
        count: row.unsigned("times")?,
        resolved_at: row.optional_time("resolved_at")?,
    })
}
