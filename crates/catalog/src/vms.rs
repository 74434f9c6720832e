//! The VMs that this installation protects.

use std::path::PathBuf;

use jiff::Timestamp;
use tresor_model::{MachineDefinition, StreamName, VmId};
use tresor_policy::Rules;

use crate::{
    Catalog, CatalogError, CatalogErrorKind, Object,
    row::{Columns, to_json},
};

/// A VM, as registered here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VmRecord {
    /// Name by which users call it.
    pub name: String,
    /// Its UUID.
    pub id: VmId,
    /// Where its QEMU listens.
    pub qmp_socket: PathBuf,
    /// Where its guest agent's channel ends on this host; `None` when it has none.
    pub agent_socket: Option<PathBuf>,
    /// Disks that are left out.
    pub excluded_disks: Vec<StreamName>,
    /// Disks that are backed up though they are shared.
    pub included_disks: Vec<StreamName>,
    /// The machine as it was last seen running.
    pub machine: Option<MachineDefinition>,
    /// Name of the vault its recovery points go to.
    pub vault: String,
    /// Which of its recovery points to keep; `None`: all.
    pub retention: Option<Rules>,
    /// When it was registered.
    pub created_at: Timestamp,
}

impl Catalog {
    /// Registers a VM. Socket paths must be UTF-8.
    ///
    /// # Errors
    /// `AlreadyExists` when the name or the id is taken; `NotFound` when there is no such vault.
    pub async fn add_vm(&self, vm: &VmRecord) -> Result<(), CatalogError> {
        let agent = vm.agent_socket.as_ref();
        let result = sqlx::query(
            "INSERT INTO vms \
             (name, id, qmp_socket, agent_socket, excluded_disks, vault, created_at, \
             included_disks, machine, retention) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        )
        .bind(&vm.name)
        .bind(vm.id.to_string())
        .bind(vm.qmp_socket.to_string_lossy().into_owned())
        .bind(agent.map(|path| path.to_string_lossy().into_owned()))
        .bind(to_json(&self.place, &vm.excluded_disks)?)
        .bind(&vm.vault)
        .bind(vm.created_at.as_microsecond())
        .bind(to_json(&self.place, &vm.included_disks)?)
        .bind(self.machine_json(vm.machine.as_ref())?)
        .bind(self.retention_json(vm)?)
        .execute(&self.pool)
        .await;
        match result {
            Ok(_) => Ok(()),
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
                let kind = CatalogErrorKind::AlreadyExists(Object::Vm);
                Err(CatalogError::new(kind, &vm.name))
            }
            Err(sqlx::Error::Database(error)) if error.is_foreign_key_violation() => {
                let kind = CatalogErrorKind::NotFound(Object::Vault);
                Err(CatalogError::new(kind, &vm.vault))
            }
            Err(error) => Err(self.failed(error)),
        }
    }

    /// The VM of that name.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn vm(&self, name: &str) -> Result<VmRecord, CatalogError> {
        let found = sqlx::query("SELECT * FROM vms WHERE name = $1")
            .bind(name)
            .fetch_optional(&self.pool)
            .await
            .map_err(|error| self.failed(error))?;
        match found {
            Some(row) => decode(&self.columns(&row)),
            None => Err(CatalogError::new(
                CatalogErrorKind::NotFound(Object::Vm),
                name,
            )),
        }
    }

    /// All VMs, by name.
    ///
    /// # Errors
    /// `Unusable` and its kin.
    pub async fn vms(&self) -> Result<Vec<VmRecord>, CatalogError> {
        let rows = sqlx::query("SELECT * FROM vms ORDER BY name")
            .fetch_all(&self.pool)
            .await
            .map_err(|error| self.failed(error))?;
        rows.iter().map(|row| decode(&self.columns(row))).collect()
    }

    /// Gives a VM another name.
    ///
    /// # Errors
    /// `NotFound`; `AlreadyExists` when the new name is taken.
    pub async fn rename_vm(&self, from: &str, to: &str) -> Result<(), CatalogError> {
        let renamed = sqlx::query("UPDATE vms SET name = $1 WHERE name = $2")
            .bind(to)
            .bind(from)
            .execute(&self.pool)
            .await;
        match renamed {
            Ok(done) => Self::expect_one(done.rows_affected(), Object::Vm, from),
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
                let kind = CatalogErrorKind::AlreadyExists(Object::Vm);
                Err(CatalogError::new(kind, to))
            }
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Notes where a VM is to be found now, what of it is left out, and what is kept. Its name, identity and
    /// vault stay.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn update_vm(&self, vm: &VmRecord) -> Result<(), CatalogError> {
        let agent = vm.agent_socket.as_ref();
        let updated = sqlx::query(
            "UPDATE vms SET qmp_socket = $1, agent_socket = $2, excluded_disks = $3, \
             included_disks = $4, retention = $5 WHERE name = $6",
        )
        .bind(vm.qmp_socket.to_string_lossy().into_owned())
        .bind(agent.map(|path| path.to_string_lossy().into_owned()))
        .bind(to_json(&self.place, &vm.excluded_disks)?)
        .bind(to_json(&self.place, &vm.included_disks)?)
        .bind(self.retention_json(vm)?)
        .bind(&vm.name)
        .execute(&self.pool)
        .await
        .map_err(|error| self.failed(error))?;
        Self::expect_one(updated.rows_affected(), Object::Vm, &vm.name)
    }

    /// Notes what a VM is, as it was just seen running.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn set_vm_machine(
        &self,
        name: &str,
        machine: &MachineDefinition,
    ) -> Result<(), CatalogError> {
        let changed = sqlx::query("UPDATE vms SET machine = $1 WHERE name = $2")
            .bind(self.machine_json(Some(machine))?)
            .bind(name)
            .execute(&self.pool)
            .await
            .map_err(|error| self.failed(error))?;
        Self::expect_one(changed.rows_affected(), Object::Vm, name)
    }

    fn machine_json(
        &self,
        machine: Option<&MachineDefinition>,
    ) -> Result<Option<String>, CatalogError> {
        machine
            .map(|machine| to_json(&self.place, machine))
            .transpose()
    }

    fn retention_json(&self, vm: &VmRecord) -> Result<Option<String>, CatalogError> {
        let rules = vm.retention.as_ref();
        rules.map(|rules| to_json(&self.place, rules)).transpose()
    }

    /// Forgets a VM. Its recovery points stay.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn remove_vm(&self, name: &str) -> Result<(), CatalogError> {
        let removed = sqlx::query("DELETE FROM vms WHERE name = $1")
            .bind(name)
            .execute(&self.pool)
            .await
            .map_err(|error| self.failed(error))?;
        Self::expect_one(removed.rows_affected(), Object::Vm, name)
    }
}

fn decode(row: &Columns<'_>) -> Result<VmRecord, CatalogError> {
    Ok(VmRecord {
        name: row.text("name")?,
        id: row.id("id")?,
        qmp_socket: row.text("qmp_socket")?.into(),
        agent_socket: row.optional_text("agent_socket")?.map(PathBuf::from),
        excluded_disks: row.json("excluded_disks")?,
        included_disks: row.optional_json("included_disks")?.unwrap_or_default(),
        machine: row.optional_json("machine")?,
        retention: row.optional_json("retention")?,
        vault: row.text("vault")?,
        created_at: row.time("created_at")?,
    })
}
