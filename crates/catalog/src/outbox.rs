//! Notifications that are to be sent. They are kept until they are, so each is sent at least once.
//!
//! Who wants to send one claims it: for a while nobody else does then. A process that dies between sending and
//! noting it leaves a claim that ends, and the notification is sent again.

use jiff::Timestamp;
use serde_json::Value;
use sqlx::AnyConnection;
use tresor_model::NotificationId;

use crate::{
    Catalog, CatalogError, Object,
    list::Conditions,
    row::{Columns, count, micros},
};

/// A notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotificationRecord {
    /// Its id; ids sort by time.
    pub id: NotificationId,
    /// When it was written.
    pub at: Timestamp,
    /// By which way it goes, by the name of the setting.
    pub channel: String,
    /// What it says.
    pub body: Value,
    /// How often sending it was begun.
    pub attempts: u64,
    /// It is not sent earlier.
    pub not_before: Timestamp,
    /// When it was sent.
    pub sent_at: Option<Timestamp>,
    /// When it was given up.
    pub given_up_at: Option<Timestamp>,
}

impl Catalog {
    /// Keeps a notification to be sent.
    ///
    /// # Errors
    /// `AlreadyExists` when the id is known.
    pub async fn add_notification(&self, what: &NotificationRecord) -> Result<(), CatalogError> {
        let mut change = self.change().await?;
        self.insert_notification(&mut change, what).await?;
        self.commit(change).await
    }

    /// The same as a part of a transaction.
    pub(crate) async fn insert_notification(
        &self,
        change: &mut AnyConnection,
        what: &NotificationRecord,
    ) -> Result<(), CatalogError> {
        let insert = sqlx::query(
            "INSERT INTO outbox (id, at, channel, body, attempts, not_before, sent_at, given_up_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(what.id.to_string())
        .bind(micros(what.at))
        .bind(&what.channel)
        .bind(what.body.to_string())
        .bind(count(what.attempts))
        .bind(micros(what.not_before))
        .bind(what.sent_at.map(micros))
        .bind(what.given_up_at.map(micros));
        let added = self.write_in(change, insert).await?;
        added.one(Object::Notification, &what.id.to_string())
    }

    /// Notifications that may be sent at `now`, those that wait longest first, at most `limit` and never
    /// more than 1000.
    ///
    /// # Errors
    /// `Unusable` and its kin.
    pub async fn due_notifications(
        &self,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<NotificationRecord>, CatalogError> {
        let conditions = Conditions::default()
            .only(true, "sent_at IS NULL AND given_up_at IS NULL")
            .number("not_before <= ", Some(micros(now)));
        let (select, order) = ("SELECT * FROM outbox", "not_before, id");
        let limit = crate::Page::<()>::first(limit).rows();
        self.select(select, conditions, order, limit, decode).await
    }

    /// Takes a notification that was seen due, for as long as until `until`. Whether it was got: not when
    /// somebody else was faster.
    ///
    /// # Errors
    /// `Unusable` and its kin.
    pub async fn claim_notification(
        &self,
        seen: &NotificationRecord,
        until: Timestamp,
    ) -> Result<bool, CatalogError> {
        let update = sqlx::query(
            "UPDATE outbox SET attempts = attempts + 1, not_before = $1 WHERE id = $2 \
             AND attempts = $3 AND sent_at IS NULL AND given_up_at IS NULL",
        )
        .bind(micros(until))
        .bind(seen.id.to_string())
        .bind(count(seen.attempts));
        Ok(self.write(update).await?.rows() > 0)
    }

    /// Notes that a notification was sent. One that was sent stays so, since then.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn note_sent(&self, id: NotificationId, at: Timestamp) -> Result<(), CatalogError> {
        let update = sqlx::query("UPDATE outbox SET sent_at = coalesce(sent_at, $1) WHERE id = $2")
            .bind(micros(at))
            .bind(id.to_string());
        let changed = self.write(update).await?;
        changed.one(Object::Notification, &id.to_string())
    }

    /// Notes that a notification could not be sent, and when to try again.
    ///
    /// # Errors
    /// `NotFound`, also when it was sent meanwhile.
    pub async fn note_send_failed(
        &self,
        id: NotificationId,
        not_before: Timestamp,
    ) -> Result<(), CatalogError> {
        let update =
            sqlx::query("UPDATE outbox SET not_before = $1 WHERE id = $2 AND sent_at IS NULL")
                .bind(micros(not_before))
                .bind(id.to_string());
        let changed = self.write(update).await?;
        changed.one(Object::Notification, &id.to_string())
    }

    /// Notes that a notification is given up.
    ///
    /// # Errors
    /// `NotFound`, also when it was sent meanwhile.
    pub async fn note_given_up(
        &self,
        id: NotificationId,
        at: Timestamp,
    ) -> Result<(), CatalogError> {
        let update =
            sqlx::query("UPDATE outbox SET given_up_at = $1 WHERE id = $2 AND sent_at IS NULL")
                .bind(micros(at))
                .bind(id.to_string());
        let changed = self.write(update).await?;
        changed.one(Object::Notification, &id.to_string())
    }

    /// Forgets what was sent or given up before `at`, and says how many that were.
    ///
    /// # Errors
    /// `Unusable` and its kin.
    pub async fn forget_sent_before(&self, at: Timestamp) -> Result<u64, CatalogError> {
        let remove = sqlx::query("DELETE FROM outbox WHERE sent_at < $1 OR given_up_at < $1")
            .bind(micros(at));
        Ok(self.write(remove).await?.rows())
    }
}

fn decode(row: &Columns<'_>) -> Result<NotificationRecord, CatalogError> {
    Ok(NotificationRecord {
        id: row.id("id")?,
        at: row.time("at")?,
        channel: row.text("channel")?,
        body: row.json("body")?,
        attempts: row.unsigned("attempts")?,
        not_before: row.time("not_before")?,
        sent_at: row.optional_time("sent_at")?,
        given_up_at: row.optional_time("given_up_at")?,
    })
}
