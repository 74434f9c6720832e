//! What the links of hosts rest on: which certificate is a host's, and whose session is which.
//!
//! # Invariant
//! A host has one certificate, or two while it has asked for a new one and not shown it yet. So a copy of a
//! key that somebody else renews with shuts the host itself out, which is seen, and not the other way round.

use jiff::Timestamp;
use sqlx::{AssertSqlSafe, Row as _, query::Query};
use tresor_model::{HostId, SessionId, VaultId};

use crate::{
    Catalog, CatalogError, HostRecord, HostState,
    row::{micros, to_word},
};

/// Sessions that are looked for by one statement.
const ROWS: usize = 200;

/// In place of a host's serial number after the database was restored: the host has renewed its certificate since,
/// nobody knows how often, and the first one that it shows counts. No serial number is a word.
pub(crate) const ANY_SERIAL: &str = "any";

/// How a certificate stands that a host shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostStanding {
    /// It is the host's.
    Current,
    /// It was the host's: another one was made since, and shown, or the host enrolled again.
    Replaced,
    /// The host was shut out.
    Revoked,
    /// There is no such host.
    Unknown,
}

impl Catalog {
    /// Registers a host that has enrolled, or one that enrols again: it keeps its id, and no certificate
    /// that it had before counts.
    ///
    /// # Errors
    /// `AlreadyExists` when another host has the name.
    pub async fn enrol_host(&self, host: &HostRecord) -> Result<(), CatalogError> {
        let update = sqlx::query(
            "UPDATE hosts SET state = $1, serial = $2, serial_before = NULL, enrolled_at = $3, \
             version = $4 WHERE id = $5",
        )
        .bind(to_word(&self.place, &HostState::Enrolled)?)
        .bind(host.serial.as_ref())
        .bind(micros(host.enrolled_at))
        .bind(host.version.as_ref())
        .bind(host.id.to_string());
        match self.write(update).await?.rows() {
            0 => self.add_host(host).await,
            _ => Ok(()),
        }
    }

    /// How a host stands with the certificate of that serial number. When it shows its newest one, the one
    /// before ends.
    ///
    /// # Errors
    /// `Unusable` and its kin.
    pub async fn host_standing(
        &self,
        host: HostId,
        serial: &str,
    ) -> Result<HostStanding, CatalogError> {
        let row = sqlx::query("SELECT state, serial, serial_before FROM hosts WHERE id = $1")
            .bind(host.to_string())
            .fetch_optional(&self.pool)
            .await
            .map_err(|error| self.failed(error))?;
        let Some(row) = row else {
            return Ok(HostStanding::Unknown);
        };
        let row = self.columns(&row);
        if row.word::<HostState>("state")? == HostState::Revoked {
            return Ok(HostStanding::Revoked);
        }
        let before = row.optional_text("serial_before")?;
        let current = row.optional_text("serial")?;
        if current.as_deref() == Some(ANY_SERIAL) {
            return self.settle_serial(host, serial).await;
        }
        if current.as_deref() != Some(serial) {
            return Ok(match before.as_deref() == Some(serial) {
                true => HostStanding::Current,
                false => HostStanding::Replaced,
            });
        }
        if before.is_some() {
            let update =
                sqlx::query("UPDATE hosts SET serial_before = NULL WHERE id = $1 AND serial = $2")
                    .bind(host.to_string())
                    .bind(serial);
            self.write(update).await?;
        }
        Ok(HostStanding::Current)
    }

    /// Of the certificates that a host may have, one was shown first.
    async fn settle_serial(
        &self,
        host: HostId,
        serial: &str,
    ) -> Result<HostStanding, CatalogError> {
        let update = sqlx::query("UPDATE hosts SET serial = $1 WHERE id = $2 AND serial = $3")
            .bind(serial)
            .bind(host.to_string())
            .bind(ANY_SERIAL);
        if self.write(update).await?.rows() > 0 {
            return Ok(HostStanding::Current);
        }
        // Another process was faster, perhaps for another certificate.
        Box::pin(self.host_standing(host, serial)).await
    }

    /// Notes the certificate that a host gets for one that it shows. Says whether that one was the host's;
    /// if not, nothing was changed.
    ///
    /// # Errors
    /// `Unusable` and its kin.
    pub async fn renew_host(
        &self,
        host: HostId,
        shown: &str,
        next: &str,
    ) -> Result<bool, CatalogError> {
        let update = sqlx::query(
            "UPDATE hosts SET serial = $1, serial_before = $2 \
             WHERE id = $3 AND state = $4 AND (serial = $2 OR serial_before = $2)",
        )
        .bind(next)
        .bind(shown)
        .bind(host.to_string())
        .bind(to_word(&self.place, &HostState::Enrolled)?);
        Ok(self.write(update).await?.rows() > 0)
    }

    /// Notes that a host begins a session of a vault, unless one has. Says whether it is that host's.
    ///
    /// # Errors
    /// `Unusable` and its kin.
    pub async fn claim_session(
        &self,
        vault: VaultId,
        session: SessionId,
        host: &str,
        now: Timestamp,
    ) -> Result<bool, CatalogError> {
        let insert = sqlx::query(
            "INSERT INTO gateway_sessions (vault, session, host, begun_at) \
             VALUES ($1, $2, $3, $4) ON CONFLICT (vault, session) DO NOTHING",
        )
        .bind(vault.to_string())
        .bind(session.to_string())
        .bind(host)
        .bind(micros(now));
        if self.write(insert).await?.rows() > 0 {
            return Ok(true);
        }
        let owner = self.session_owners(vault, &[session]).await?.pop();
        Ok(owner.flatten().as_deref() == Some(host))
    }

    /// The hosts that began sessions of a vault, in the order of these.
    ///
    /// # Errors
    /// `Unusable` and its kin.
    pub async fn session_owners(
        &self,
        vault: VaultId,
        of: &[SessionId],
    ) -> Result<Vec<Option<String>>, CatalogError> {
        let vault = vault.to_string();
        let mut owners = std::collections::HashMap::new();
        for sessions in of.chunks(ROWS) {
            let places: Vec<_> = (2..2 + sessions.len()).map(|at| format!("${at}")).collect();
            let text = format!(
                "SELECT session, host FROM gateway_sessions WHERE vault = $1 AND session IN ({})",
                places.join(", ")
            );
            let query = sqlx::query(AssertSqlSafe(text)).bind(&vault);
            let ids = sessions.iter().map(ToString::to_string);
            let rows = ids.fold(query, Query::bind).fetch_all(&self.pool).await;
            for row in rows.map_err(|error| self.failed(error))? {
                let pair = row
                    .try_get("session")
                    .and_then(|session: String| Ok((session, row.try_get::<String, _>("host")?)));
                let (session, host) = pair.map_err(|error| self.failed(error))?;
                owners.insert(session, host);
            }
        }
        let owner = |session: &SessionId| owners.get(&session.to_string()).cloned();
        Ok(of.iter().map(owner).collect())
    }

    /// Forgets who began sessions before a time: they have ended, one way or the other. Gives how many.
    ///
    /// # Errors
    /// `Unusable` and its kin.
    pub async fn forget_sessions_before(&self, time: Timestamp) -> Result<u64, CatalogError> {
        let remove =
            sqlx::query("DELETE FROM gateway_sessions WHERE begun_at < $1").bind(micros(time));
        Ok(self.write(remove).await?.rows())
    }
}
