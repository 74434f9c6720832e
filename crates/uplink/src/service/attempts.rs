//! What a host tried and may not do: told to the log and to the audit, a bounded number of times.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde_json::json;
use tresor_catalog::{AuditRecord, Catalog};
use tresor_model::{AuditId, HostId};

/// So many are told in a [`WINDOW`]; more are counted.
const TOLD: u32 = 20;
const WINDOW: Duration = Duration::from_secs(3600);

/// Of one host, whatever connections it has.
pub(super) struct Attempts {
    catalog: Arc<Catalog>,
    host: HostId,
    told: Mutex<(Instant, u32)>,
}

impl Attempts {
    pub(super) fn new(catalog: Arc<Catalog>, host: HostId) -> Self {
        Self {
            catalog,
            host,
            told: Mutex::new((Instant::now(), 0)),
        }
    }

    fn may_tell(&self) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.0.elapsed() > WINDOW {
            *told = (Instant::now(), 0);
        }
        told.1 = told.1.saturating_add(1);
        told.1 <= TOLD
    }

    fn tell(&self, method: &str, object: &str, why: &str) {
        if !self.may_tell() {
            return;
        }
        tracing::warn!(host = %self.host, method, object, why, "a host tried what it may not");
        let entry = AuditRecord {
            id: AuditId::generate(),
            at: Timestamp::now(),
            actor: format!("host {}", self.host),
            action: format!("refused: {method}"),
            object: object.to_owned(),
            before: None,
            after: Some(json!({ "why": why })),
        };
        let catalog = Arc::clone(&self.catalog);
        tokio::spawn(async move {
            if let Err(error) = catalog.append_audit(&entry).await {
                tracing::warn!(%error, "the audit log cannot be written");
            }
        });
    }
}

impl tresor_gateway::Audit for Attempts {
    fn attempt(&self, attempt: &tresor_gateway::Attempt) {
        let object = format!("{} of vault {}", attempt.object, attempt.vault);
        self.tell(&attempt.method, &object, attempt.why.word());
    }
}

impl tresor_host_link::Audit for Attempts {
    fn attempt(&self, attempt: &tresor_host_link::Attempt) {
        self.tell(&attempt.method, &attempt.object, attempt.why.word());
    }
}
