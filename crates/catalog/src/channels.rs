//! Channels: ways by which notifications go out. What their settings mean is not known here.

use std::fmt;

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    Catalog, CatalogError, NotificationRecord, Object,
    row::{Columns, micros},
    write::Written,
};

/// What must not be shown. The catalog's file is its owner's only.
#[derive(Clone, PartialEq, Eq)]
pub struct ChannelSecret(String);

impl ChannelSecret {
    /// Keeps a text from being shown.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ChannelSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// A channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelRecord {
    /// Its name.
    pub name: String,
    /// What it is and where it leads, as a document.
    pub settings: Value,
    /// What it proves itself by.
    pub secret: Option<ChannelSecret>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When something was last sent by it.
    pub last_sent_at: Option<Timestamp>,
    /// Since when nothing gets through.
    pub failing_since: Option<Timestamp>,
    /// Why.
    pub failure: Option<String>,
    /// Of which moment the last summary was.
    pub digest_at: Option<Timestamp>,
}

impl Catalog {
    /// Keeps a channel, in the place of the one of its name if `replace` says so. What is known of how sending
    /// went begins anew.
    ///
    /// # Errors
    /// `AlreadyExists`.
    pub async fn set_channel(
        &self,
        channel: &ChannelRecord,
        replace: bool,
    ) -> Result<(), CatalogError> {
        let insert = match replace {
            false => {
                "INSERT INTO channels (name, settings, secret, created_at) VALUES ($1, $2, $3, $4)"
            }
            true => {
                "INSERT INTO channels (name, settings, secret, created_at) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (name) DO UPDATE SET settings = excluded.settings, \
                 secret = excluded.secret, failing_since = NULL, failure = NULL"
            }
        };
        let secret = channel.secret.as_ref();
        let insert = sqlx::query(insert)
            .bind(&channel.name)
            .bind(channel.settings.to_string())
            .bind(secret.map(|secret| secret.reveal().to_owned()))
            .bind(micros(channel.created_at));
        self.write(insert)
            .await?
            .one(Object::Channel, &channel.name)
    }

    /// All channels, by name. There are few.
    ///
    /// # Errors
    /// `Unusable` and its kin.
    pub async fn channels(&self) -> Result<Vec<ChannelRecord>, CatalogError> {
        let rows = sqlx::query("SELECT * FROM channels ORDER BY name")
            .fetch_all(&self.pool)
            .await
            .map_err(|error| self.failed(error))?;
        rows.iter().map(|row| decode(&self.columns(row))).collect()
    }

    /// The channel of that name.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn channel(&self, name: &str) -> Result<ChannelRecord, CatalogError> {
        let select = "SELECT * FROM channels WHERE name = $1";
        self.find(select, (Object::Channel, name), decode).await
    }

    /// Forgets a channel, and what was to go by it.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn remove_channel(&self, name: &str) -> Result<(), CatalogError> {
        let mut change = self.change().await?;
        let remove = sqlx::query("DELETE FROM channels WHERE name = $1").bind(name);
        let removed = self.write_in(&mut *change, remove).await?;
        removed.one(Object::Channel, name)?;
        let forget = sqlx::query("DELETE FROM outbox WHERE channel = $1").bind(name);
        self.write_in(&mut *change, forget).await?;
        self.commit(change).await
    }

    /// Notes how sending went: `None`, it got through at `now`; else why it did not.
    ///
    /// # Errors
    /// `Unusable` and its kin. A channel that is gone is none.
    pub async fn note_channel(
        &self,
        name: &str,
        now: Timestamp,
        failure: Option<&str>,
    ) -> Result<(), CatalogError> {
        let update = match failure {
            None => sqlx::query(
                "UPDATE channels SET last_sent_at = $1, failing_since = NULL, failure = NULL \
                 WHERE name = $2",
            )
            .bind(micros(now))
            .bind(name),
            Some(failure) => sqlx::query(
                "UPDATE channels SET failing_since = coalesce(failing_since, $1), failure = $2 \
                 WHERE name = $3",
            )
            .bind(micros(now))
            .bind(failure)
            .bind(name),
        };
        self.write(update).await.map(drop)
    }

    /// Keeps a summary to be sent, and of which moment it is. Whether it was kept: not when there is one of
    /// that moment or a later one.
    ///
    /// # Errors
    /// `Unusable` and its kin.
    pub async fn add_digest(
        &self,
        what: &NotificationRecord,
        moment: Timestamp,
    ) -> Result<bool, CatalogError> {
        let mut change = self.change().await?;
        let update = sqlx::query(
            "UPDATE channels SET digest_at = $1 \
             WHERE name = $2 AND (digest_at IS NULL OR digest_at < $1)",
        )
        .bind(micros(moment))
        .bind(&what.channel);
        if let Written::Rows(0) = self.write_in(&mut *change, update).await? {
            self.undo(change).await?;
            return Ok(false);
        }
        self.insert_notification(&mut change, what).await?;
        self.commit(change).await?;
        Ok(true)
    }
}

fn decode(row: &Columns<'_>) -> Result<ChannelRecord, CatalogError> {
    Ok(ChannelRecord {
        name: row.text("name")?,
        settings: row.json("settings")?,
        secret: row.optional_text("secret")?.map(ChannelSecret),
        created_at: row.time("created_at")?,
        last_sent_at: row.optional_time("last_sent_at")?,
        failing_since: row.optional_time("failing_since")?,
        failure: row.optional_text("failure")?,
        digest_at: row.optional_time("digest_at")?,
    })
}
