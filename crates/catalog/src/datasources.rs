//! VMs that were found on hosts, protected or not.
//!
//! A host reports all that it has at once: what it does not name any more is gone from there. What was
//! found stays listed as gone, so that a protected VM that vanished is noticed.

use std::path::PathBuf;

use jiff::Timestamp;
use sqlx::AnyConnection;
use tresor_model::{HostId, MachineDefinition, VmId};
use tresor_problem::Problem;

use crate::{
    Catalog, CatalogError, CatalogErrorKind, Object, Page,
    list::Conditions,
    row::{Columns, micros, to_optional_json},
};

/// In a key NULL would be equal to nothing.
const THIS_MACHINE: &str = "";

const SELECT: &str = "SELECT datasources.*, protected_items.vm AS protected_vm FROM datasources \
     LEFT JOIN protected_items ON protected_items.vm = datasources.vm";

/// A VM, as a host sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datasource {
    /// Its UUID.
    pub vm: VmId,
    /// What it calls itself.
    pub name: String,
    /// Where its QEMU listens.
    pub qmp_socket: PathBuf,
    /// Where its guest agent's channel ends on the host.
    pub agent_socket: Option<PathBuf>,
    /// What it is; `None` when it cannot be looked at now.
    pub machine: Option<MachineDefinition>,
    /// What it does (`running`, `stopped`, …), in the words of the host.
    pub state: String,
    /// Why it cannot be looked at.
    pub problem: Option<Problem>,
}

/// A VM that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasourceRecord {
    /// Where; `None`: on this machine.
    pub host: Option<HostId>,
    /// What its host said last. The machine is the last one that was seen.
    pub seen: Datasource,
    /// When it was found there first.
    pub first_seen: Timestamp,
    /// When it was there last.
    pub last_seen: Timestamp,
    /// Since when it is not there any more.
    pub gone_since: Option<Timestamp>,
    /// Whether the VM is a protected item, there or on another host.
    pub protected: bool,
}

/// A VM and the host on which it was found; `None`: this machine.
pub type DatasourceKey = (VmId, Option<HostId>);

impl DatasourceRecord {
    /// Where in a list it stands.
    #[must_use]
    pub fn key(&self) -> DatasourceKey {
        (self.seen.vm, self.host)
    }
}

/// Which datasources to list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DatasourceFilter {
    /// Only this VM, wherever it was found.
    pub vm: Option<VmId>,
    /// Only those on this host; `Some(None)`: on this machine.
    pub host: Option<Option<HostId>>,
    /// Only those that are protected items, or only others.
    pub protected: Option<bool>,
    /// Only those that are gone, or only others.
    pub gone: Option<bool>,
}

impl Catalog {
    /// Notes all that a host has at `now`; what was found there before and is not among it is gone. Of a VM
    /// that is named twice the last one counts.
    ///
    /// # Errors
    /// `NotFound` when there is no such host; `Unusable` and its kin. Then nothing was changed.
    pub async fn report(
        &self,
        host: Option<HostId>,
        seen: &[Datasource],
        now: Timestamp,
    ) -> Result<(), CatalogError> {
        let mut change = self.change().await?;
        if let Some(host) = host {
            self.expect_host(&mut change, host).await?;
        }
        let host = key(host);
        // All, and then those that were seen are not: no clock decides who was missed.
        let gone = sqlx::query(
            "UPDATE datasources SET gone_since = $1 WHERE host = $2 AND gone_since IS NULL",
        )
        .bind(micros(now))
        .bind(&host);
        self.write_in(&mut *change, gone).await?;
        for datasource in seen {
            self.note_seen(&mut change, &host, datasource, now).await?;
        }
        self.commit(change).await
    }

    async fn expect_host(
        &self,
        connection: &mut AnyConnection,
        host: HostId,
    ) -> Result<(), CatalogError> {
        let row = sqlx::query("SELECT id FROM hosts WHERE id = $1")
            .bind(host.to_string())
            .fetch_optional(connection)
            .await
            .map_err(|error| self.failed(error))?;
        let kind = CatalogErrorKind::NotFound(Object::Host);
        let missing = || CatalogError::new(kind, host.to_string());
        row.map(|_| ()).ok_or_else(missing)
    }

    async fn note_seen(
        &self,
        connection: &mut AnyConnection,
        host: &str,
        seen: &Datasource,
        now: Timestamp,
    ) -> Result<(), CatalogError> {
        let agent = seen.agent_socket.as_ref();
        let upsert = sqlx::query(
            "INSERT INTO datasources (vm, host, name, qmp_socket, agent_socket, machine, state, \
             problem, first_seen, last_seen) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9) \
             ON CONFLICT (vm, host) DO UPDATE SET name = excluded.name, \
             qmp_socket = excluded.qmp_socket, agent_socket = excluded.agent_socket, \
             machine = coalesce(excluded.machine, datasources.machine), state = excluded.state, \
             problem = excluded.problem, last_seen = excluded.last_seen, gone_since = NULL",
        )
        .bind(seen.vm.to_string())
        .bind(host)
        .bind(&seen.name)
        .bind(seen.qmp_socket.to_string_lossy().into_owned())
        .bind(agent.map(|path| path.to_string_lossy().into_owned()))
        .bind(to_optional_json(&self.place, seen.machine.as_ref())?)
        .bind(&seen.state)
        .bind(to_optional_json(&self.place, seen.problem.as_ref())?)
        .bind(micros(now));
        self.write_in(connection, upsert).await.map(|_| ())
    }

    /// The datasources that pass the filter, by VM and host.
    ///
    /// # Errors
    /// `Unusable` and its kin.
    pub async fn datasources(
        &self,
        filter: &DatasourceFilter,
        page: &Page<DatasourceKey>,
    ) -> Result<Vec<DatasourceRecord>, CatalogError> {
        let is = |wanted, what: Option<bool>| what == Some(wanted);
        let after = page.after.map(|(vm, host)| (vm, key(host)));
        let conditions = Conditions::default()
            .text("datasources.vm = ", filter.vm)
            .text("datasources.host = ", filter.host.map(key))
            .only(is(true, filter.protected), "protected_items.vm IS NOT NULL")
            .only(is(false, filter.protected), "protected_items.vm IS NULL")
            .only(is(true, filter.gone), "gone_since IS NOT NULL")
            .only(is(false, filter.gone), "gone_since IS NULL")
            .behind("(datasources.vm, datasources.host)", after);
        let order = "datasources.vm, datasources.host";
        self.select(SELECT, conditions, order, page.rows(), decode)
            .await
    }

    /// The VM as it was found on a host; `None`: on this machine.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn datasource(
        &self,
        (vm, host): DatasourceKey,
    ) -> Result<DatasourceRecord, CatalogError> {
        let conditions = Conditions::default()
            .text("datasources.vm = ", Some(vm))
            .text("datasources.host = ", Some(key(host)));
        let order = "datasources.vm";
        let found = self.select(SELECT, conditions, order, 1, decode).await?;
        let kind = CatalogErrorKind::NotFound(Object::Datasource);
        let missing = || CatalogError::new(kind, vm.to_string());
        found.into_iter().next().ok_or_else(missing)
    }
}

fn key(host: Option<HostId>) -> String {
    host.map_or_else(|| THIS_MACHINE.to_owned(), |host| host.to_string())
}

fn decode(row: &Columns<'_>) -> Result<DatasourceRecord, CatalogError> {
    let local = row.text("host")? == THIS_MACHINE;
    Ok(DatasourceRecord {
        host: if local { None } else { Some(row.id("host")?) },
        seen: Datasource {
            vm: row.id("vm")?,
            name: row.text("name")?,
            qmp_socket: row.text("qmp_socket")?.into(),
            agent_socket: row.optional_text("agent_socket")?.map(PathBuf::from),
            machine: row.optional_json("machine")?,
            state: row.text("state")?,
            problem: row.optional_json("problem")?,
        },
        first_seen: row.time("first_seen")?,
        last_seen: row.time("last_seen")?,
        gone_since: row.optional_time("gone_since")?,
        protected: row.optional_text("protected_vm")?.is_some(),
    })
}
