//! What the scheduler remembers of each protected item, so that it can be started again.

use jiff::Timestamp;
use tresor_model::VmId;

use crate::{
    Catalog, CatalogError, CatalogErrorKind, ItemState, Object,
    row::{count, micros, to_word},
    write::{Statement, Written},
};

/// How a job of a protected item ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunEnd {
    /// With a recovery point: its window is served.
    Succeeded {
        /// The moment whose data the point has.
        point_at: Timestamp,
        /// What the next run is expected to take, in seconds.
        expected_s: u64,
        /// What the next run is expected to send, in bytes.
        expected_bytes: u64,
    },
    /// Without one; it is tried again for the same window.
    Retries {
        /// Not before.
        not_before: Timestamp,
    },
    /// Without one; its window is given up.
    GivenUp,
}

impl Catalog {
    /// Keeps how long after a window's opening an item starts, in seconds; `None`: it is placed anew.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn set_slot(&self, vm: VmId, slot_s: Option<u64>) -> Result<(), CatalogError> {
        let update = sqlx::query("UPDATE protected_items SET slot_s = $1 WHERE vm = $2")
            .bind(slot_s.map(count))
            .bind(vm.to_string());
        self.change_item(vm, update).await
    }

    /// Notes that a job starts at `at` for the window that opened at `window`. For a window for which one
    /// has started before it is one more attempt.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when the item's protection was stopped meanwhile.
    pub async fn note_started(
        &self,
        vm: VmId,
        window: Timestamp,
        at: Timestamp,
    ) -> Result<(), CatalogError> {
        let update = sqlx::query(
            "UPDATE protected_items SET \
             attempt = CASE WHEN open_window = $1 THEN attempt + 1 ELSE 1 END, \
             open_window = $1, last_started_at = $2, not_before = NULL \
             WHERE vm = $3 AND state = $4",
        )
        .bind(micros(window))
        .bind(micros(at))
        .bind(vm.to_string())
        .bind(to_word(&self.place, &ItemState::Protected)?);
        if let Written::Rows(1..) = self.write(update).await? {
            return Ok(());
        }
        self.item(vm).await?; // is there such an item at all?
        let kind = CatalogErrorKind::Conflict(Object::ProtectedItem);
        Err(CatalogError::new(kind, vm.to_string()))
    }

    /// Notes how a job ended, also of an item whose protection was stopped meanwhile: then nothing is tried
    /// again.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn note_finished(&self, vm: VmId, end: RunEnd) -> Result<(), CatalogError> {
        let protected = to_word(&self.place, &ItemState::Protected)?;
        let update = match end {
            RunEnd::Succeeded {
                point_at,
                expected_s,
                expected_bytes,
            } => sqlx::query(
                "UPDATE protected_items SET last_point_at = $1, expected_s = $2, \
                 expected_bytes = $3, open_window = NULL, not_before = NULL, attempt = 0 \
                 WHERE vm = $4",
            )
            .bind(micros(point_at))
            .bind(count(expected_s))
            .bind(count(expected_bytes)),
            RunEnd::Retries { not_before } => sqlx::query(
                "UPDATE protected_items SET \
                 not_before = CASE WHEN state = $1 THEN $2 ELSE not_before END WHERE vm = $3",
            )
            .bind(protected)
            .bind(micros(not_before)),
            RunEnd::GivenUp => sqlx::query(
                "UPDATE protected_items SET open_window = NULL, not_before = NULL, attempt = 0 \
                 WHERE vm = $1",
            ),
        };
        self.change_item(vm, update.bind(vm.to_string())).await
    }

    async fn change_item(&self, vm: VmId, update: Statement<'_>) -> Result<(), CatalogError> {
        let changed = self.write(update).await?;
        changed.one(Object::ProtectedItem, &vm.to_string())
    }
}
