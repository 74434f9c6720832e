//! The VMs that this installation protects.

use std::path::PathBuf;

use jiff::Timestamp;
use tresor_model::{HostId, MachineDefinition, StreamName, VmId};
use tresor_policy::Rules;

use crate::{
    Catalog, CatalogError, CatalogErrorKind, Object,
    row::{Columns, to_json, to_optional_json},
    write::Written,
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
    /// The host that has it; `None`: this machine.
    pub host: Option<HostId>,
    /// Name of the vault its recovery points go to.
    pub vault: String,
    /// Which of its recovery points to keep; `None`: all.
    pub retention: Option<Rules>,
    /// When it was registered.
    pub created_at: Timestamp,
}

impl Catalog {
    /// Whether a VM of the host is to be stored in that vault.
    ///
    /// # Errors
    /// `Unusable` and its kin.
    pub async fn host_has_vault(&self, host: HostId, vault: &str) -> Result<bool, CatalogError> {
        let found = sqlx::query("SELECT 1 FROM vms WHERE host = $1 AND vault = $2 LIMIT 1")
            .bind(host.to_string())
            .bind(vault)
            .fetch_optional(&self.pool)
            .await;
        Ok(found.map_err(|error| self.failed(error))?.is_some())
    }

    /// Registers a VM. Socket paths must be UTF-8.
    ///
    /// # Errors
    /// `AlreadyExists` when the name or the id is taken; `NotFound` when there is no such vault or
    /// host.
    pub async fn add_vm(&self, vm: &VmRecord) -> Result<(), CatalogError> {
        let agent = vm.agent_socket.as_ref();
        let insert = sqlx::query(
            "INSERT INTO vms \
             (name, id, qmp_socket, agent_socket, excluded_disks, vault, created_at, \
             included_disks, machine, retention, host) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        )
        .bind(&vm.name)
        .bind(vm.id.to_string())
        .bind(vm.qmp_socket.to_string_lossy().into_owned())
        .bind(agent.map(|path| path.to_string_lossy().into_owned()))
        .bind(to_json(&self.place, &vm.excluded_disks)?)
        .bind(&vm.vault)
        .bind(vm.created_at.as_microsecond())
        .bind(to_json(&self.place, &vm.included_disks)?)
        .bind(to_optional_json(&self.place, vm.machine.as_ref())?)
        .bind(to_optional_json(&self.place, vm.retention.as_ref())?)
        .bind(vm.host.map(|host| host.to_string()));
        match self.write(insert).await? {
            Written::Unreferenced(_) => Err(self.homeless(vm).await),
            written => written.one(Object::Vm, &vm.name),
        }
    }

    /// What a VM refers to and is not there.
    async fn homeless(&self, vm: &VmRecord) -> CatalogError {
        if let Err(error) = self.vault(&vm.vault).await {
            return error;
        }
        let host = vm.host.map(|host| host.to_string()).unwrap_or_default();
        CatalogError::new(CatalogErrorKind::NotFound(Object::Host), host)
    }

    /// The VM of that name.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn vm(&self, name: &str) -> Result<VmRecord, CatalogError> {
        let select = "SELECT * FROM vms WHERE name = $1";
        self.find(select, (Object::Vm, name), decode).await
    }

    /// The VM of that id.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn vm_by_id(&self, id: VmId) -> Result<VmRecord, CatalogError> {
        let select = "SELECT * FROM vms WHERE id = $1";
        let id = id.to_string();
        self.find(select, (Object::Vm, &id), decode).await
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
        let rename = sqlx::query("UPDATE vms SET name = $1 WHERE name = $2")
            .bind(to)
            .bind(from);
        match self.write(rename).await? {
            Written::Taken => Written::Taken.one(Object::Vm, to),
            written => written.one(Object::Vm, from),
        }
    }

    /// Notes where a VM is to be found now, what of it is left out, and what is kept. Its name, identity and
    /// vault stay.
    ///
    /// # Errors
    /// `NotFound`, also of its host.
    pub async fn update_vm(&self, vm: &VmRecord) -> Result<(), CatalogError> {
        let agent = vm.agent_socket.as_ref();
        let update = sqlx::query(
            "UPDATE vms SET qmp_socket = $1, agent_socket = $2, excluded_disks = $3, \
             included_disks = $4, retention = $5, host = $6 WHERE name = $7",
        )
        .bind(vm.qmp_socket.to_string_lossy().into_owned())
        .bind(agent.map(|path| path.to_string_lossy().into_owned()))
        .bind(to_json(&self.place, &vm.excluded_disks)?)
        .bind(to_json(&self.place, &vm.included_disks)?)
        .bind(to_optional_json(&self.place, vm.retention.as_ref())?)
        .bind(vm.host.map(|host| host.to_string()))
        .bind(&vm.name);
        match self.write(update).await? {
            Written::Unreferenced(_) => Err(self.homeless(vm).await),
            written => written.one(Object::Vm, &vm.name),
        }
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
        let change = sqlx::query("UPDATE vms SET machine = $1 WHERE name = $2")
            .bind(to_json(&self.place, machine)?)
            .bind(name);
        self.write(change).await?.one(Object::Vm, name)
    }

    /// Forgets a VM. Its recovery points stay.
    ///
    /// # Errors
    /// `NotFound`; `InUse` when it is a protected item.
    pub async fn remove_vm(&self, name: &str) -> Result<(), CatalogError> {
        let remove = sqlx::query("DELETE FROM vms WHERE name = $1").bind(name);
        self.write(remove).await?.one(Object::Vm, name)
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
        host: row.optional_id("host")?,
        retention: row.optional_json("retention")?,
        vault: row.text("vault")?,
        created_at: row.time("created_at")?,
    })
}
