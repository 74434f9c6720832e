//! Protected items: VMs with a policy. What the scheduler remembers of each is changed in `schedule.rs`.

use jiff::Timestamp;
use sqlx::AnyConnection;
use tresor_model::{HostId, ItemState, VmId};

use crate::{
    Catalog, CatalogError, CatalogErrorKind, Object, Page,
    list::Conditions,
    row::{Columns, micros, to_word},
};

const SELECT: &str = "SELECT protected_items.*, vms.name AS vm_name, vms.host, vms.vault, \
     datasources.gone_since FROM protected_items JOIN vms ON vms.id = protected_items.vm \
     LEFT JOIN datasources ON datasources.vm = vms.id AND datasources.host = coalesce(vms.host, '')";

/// A protected item, with what is registered of its VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemRecord {
    /// Its VM.
    pub vm: VmId,
    /// The VM's name.
    pub vm_name: String,
    /// The host that has the VM; `None`: this machine.
    pub host: Option<HostId>,
    /// Name of the vault its recovery points go to.
    pub vault: String,
    /// Name of its policy.
    pub policy: String,
    /// Whether backups of it are made.
    pub state: ItemState,
    /// Since when it is in this state.
    pub since: Timestamp,
    /// Since when its VM is not found any more where it is registered.
    pub gone_since: Option<Timestamp>,
    /// What the scheduler must remember of it.
    pub memory: Memory,
}

/// What the scheduler must remember of a protected item when it is started again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    /// How long after a window's opening it starts, in seconds; `None`: not placed yet.
    pub slot_s: Option<u64>,
    /// When its last job started.
    pub last_started_at: Option<Timestamp>,
    /// The moment whose data its last recovery point has.
    pub last_point_at: Option<Timestamp>,
    /// How many jobs have started for the open window.
    pub attempt: u64,
    /// Nothing starts before: a back-off.
    pub not_before: Option<Timestamp>,
    /// What a run is expected to take, in seconds.
    pub expected_s: Option<u64>,
    /// What a run is expected to send to the vault, in bytes.
    pub expected_bytes: Option<u64>,
    /// When the window opened that is being served; `None`: none is.
    pub open_window: Option<Timestamp>,
}

/// Which protected items to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ItemFilter {
    /// Only those on this host; `Some(None)`: on this machine.
    pub host: Option<Option<HostId>>,
    /// Only those whose recovery points go to this vault, by name.
    pub vault: Option<String>,
    /// Only those with this policy, by name.
    pub policy: Option<String>,
    /// Only those in this state.
    pub state: Option<ItemState>,
}

impl Catalog {
    /// Protects a VM by a policy, or gives a protected one another policy. Its place in the windows of the
    /// policy before is forgotten then; how long a run takes is not. Protection that was stopped goes on.
    ///
    /// # Errors
    /// `NotFound` of the VM or the policy.
    pub async fn protect(
        &self,
        vm: VmId,
        policy: &str,
        now: Timestamp,
    ) -> Result<(), CatalogError> {
        let mut change = self.change().await?;
        let id = vm.to_string();
        let known = "SELECT 1 AS found FROM vms WHERE id = $1";
        self.expect(&mut change, known, Object::Vm, &id).await?;
        let known = "SELECT 1 AS found FROM policies WHERE name = $1";
        self.expect(&mut change, known, Object::Policy, policy)
            .await?;
        let upsert = sqlx::query(
            "INSERT INTO protected_items (vm, policy, state, since, attempt) \
             VALUES ($1, $2, $3, $4, 0) ON CONFLICT (vm) DO UPDATE SET \
             slot_s = CASE WHEN protected_items.policy = excluded.policy \
                 THEN protected_items.slot_s ELSE NULL END, \
             open_window = CASE WHEN protected_items.policy = excluded.policy \
                 THEN protected_items.open_window ELSE NULL END, \
             not_before = CASE WHEN protected_items.policy = excluded.policy \
                 THEN protected_items.not_before ELSE NULL END, \
             attempt = CASE WHEN protected_items.policy = excluded.policy \
                 THEN protected_items.attempt ELSE 0 END, \
             since = CASE WHEN protected_items.state = excluded.state \
                 THEN protected_items.since ELSE excluded.since END, \
             policy = excluded.policy, state = excluded.state",
        )
        .bind(&id)
        .bind(policy)
        .bind(to_word(&self.place, &ItemState::Protected)?)
        .bind(micros(now));
        // Who removes the policy at this moment is refused, or this is: by the reference.
        let written = self.write_in(&mut *change, upsert).await?;
        written.one(Object::ProtectedItem, &id)?;
        self.commit(change).await
    }

    async fn expect(
        &self,
        connection: &mut AnyConnection,
        select: &'static str,
        object: Object,
        key: &str,
    ) -> Result<(), CatalogError> {
        let found = sqlx::query(select).bind(key).fetch_optional(connection);
        let found = found.await.map_err(|error| self.failed(error))?;
        let missing = || CatalogError::new(CatalogErrorKind::NotFound(object), key);
        found.map(|_| ()).ok_or_else(missing)
    }

    /// Makes no more backups of a VM. Its recovery points and its policy stay.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn stop_protection(&self, vm: VmId, now: Timestamp) -> Result<(), CatalogError> {
        self.set_item_state(vm, ItemState::StoppedKept, now).await
    }

    /// Makes no more backups of a VM, and wants none of its recovery points any more.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn stop_and_delete(&self, vm: VmId, now: Timestamp) -> Result<(), CatalogError> {
        self.set_item_state(vm, ItemState::StoppedDeleted, now)
            .await
    }

    /// Makes backups of a VM again, as if it had not been stopped.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn resume_protection(&self, vm: VmId, now: Timestamp) -> Result<(), CatalogError> {
        self.set_item_state(vm, ItemState::Protected, now).await
    }

    /// A state that it has already stays, since then. No window is served across a change.
    async fn set_item_state(
        &self,
        vm: VmId,
        state: ItemState,
        now: Timestamp,
    ) -> Result<(), CatalogError> {
        let update = sqlx::query(
            "UPDATE protected_items SET \
             since = CASE WHEN state = $1 THEN since ELSE $2 END, \
             open_window = CASE WHEN state = $1 THEN open_window ELSE NULL END, \
             not_before = CASE WHEN state = $1 THEN not_before ELSE NULL END, \
             attempt = CASE WHEN state = $1 THEN attempt ELSE 0 END, \
             state = $1 WHERE vm = $3",
        )
        .bind(to_word(&self.place, &state)?)
        .bind(micros(now))
        .bind(vm.to_string());
        let changed = self.write(update).await?;
        changed.one(Object::ProtectedItem, &vm.to_string())
    }

    /// Forgets that a VM was protected. The VM stays registered; its recovery points are the vault's.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn remove_item(&self, vm: VmId) -> Result<(), CatalogError> {
        let id = vm.to_string();
        let remove = sqlx::query("DELETE FROM protected_items WHERE vm = $1").bind(&id);
        self.write(remove).await?.one(Object::ProtectedItem, &id)
    }

    /// The protected item of that VM.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn item(&self, vm: VmId) -> Result<ItemRecord, CatalogError> {
        let id = vm.to_string();
        let conditions = Conditions::default().text("protected_items.vm = ", Some(&id));
        let order = "protected_items.vm";
        let found = self.select(SELECT, conditions, order, 1, decode).await?;
        let kind = CatalogErrorKind::NotFound(Object::ProtectedItem);
        let missing = || CatalogError::new(kind, id);
        found.into_iter().next().ok_or_else(missing)
    }

    /// The protected items that pass the filter, by VM; the key is the VM's id.
    ///
    /// # Errors
    /// `Unusable` and its kin.
    pub async fn items(
        &self,
        filter: &ItemFilter,
        page: &Page<VmId>,
    ) -> Result<Vec<ItemRecord>, CatalogError> {
        let state = filter.state.map(|state| to_word(&self.place, &state));
        let conditions = Conditions::default()
            .text("vms.host = ", filter.host.flatten())
            .only(filter.host == Some(None), "vms.host IS NULL")
            .text("vms.vault = ", filter.vault.as_ref())
            .text("protected_items.policy = ", filter.policy.as_ref())
            .text("protected_items.state = ", state.transpose()?)
            .text("protected_items.vm > ", page.after);
        let order = "protected_items.vm";
        self.select(SELECT, conditions, order, page.rows(), decode)
            .await
    }
}

fn decode(row: &Columns<'_>) -> Result<ItemRecord, CatalogError> {
    Ok(ItemRecord {
        vm: row.id("vm")?,
        vm_name: row.text("vm_name")?,
        host: row.optional_id("host")?,
        vault: row.text("vault")?,
        policy: row.text("policy")?,
        state: row.word("state")?,
        since: row.time("since")?,
        gone_since: row.optional_time("gone_since")?,
        memory: Memory {
            slot_s: row.optional_unsigned("slot_s")?,
            last_started_at: row.optional_time("last_started_at")?,
            last_point_at: row.optional_time("last_point_at")?,
            attempt: row.unsigned("attempt")?,
            not_before: row.optional_time("not_before")?,
            expected_s: row.optional_unsigned("expected_s")?,
            expected_bytes: row.optional_unsigned("expected_bytes")?,
            open_window: row.optional_time("open_window")?,
        },
    })
}
