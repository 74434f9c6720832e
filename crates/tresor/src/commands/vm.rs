//! `tresor vm …`

use std::{path::PathBuf, time::Duration};

use serde::Serialize;
use serde_json::json;
use tresor_catalog::VmRecord;
use tresor_disk::{SnapshotProvider as _, VmDescription, VmState};
use tresor_host::{StateDir, absolute, guest_agent, provider, vm_problem};
use tresor_link::{QemuGuestAgent, Quiescer as _};
use tresor_model::{StreamName, VmId};
use tresor_problem::{Kind, Problem};

use super::{
    open::{self, find_vault},
    session::{Session, print_problem},
    vm_change, vm_remove,
};
use crate::{
    args::VmCommand,
    output::{bytes, note, plain_table},
};

pub(super) async fn run(command: VmCommand, session: &Session) -> Result<(), Problem> {
    match command {
        VmCommand::Add {
            name,
            qmp,
            agent,
            vault,
            exclude,
            include,
        } => {
            add(
                session,
                Registration {
                    name,
                    qmp,
                    agent,
                    vault,
                    exclude,
                    include,
                },
            )
            .await
        }
        VmCommand::List => list(session).await,
        VmCommand::Show { name } => show(session, &name).await,
        VmCommand::Set(args) => vm_change::set(session, args).await,
        VmCommand::Rename { name, to } => vm_change::rename(session, &name, &to).await,
        VmCommand::Remove(args) => vm_remove::remove(session, args).await,
    }
}

struct Registration {
    name: String,
    qmp: PathBuf,
    agent: Option<PathBuf>,
    vault: Option<String>,
    exclude: Vec<StreamName>,
    include: Vec<StreamName>,
}

/// The VM as it is now, or as it was last seen when it does not run.
async fn describe(vm: &VmRecord, state: &StateDir) -> Result<VmDescription, Problem> {
    let described = provider(vm, state, Vec::new()).describe().await;
    described.map_err(|error| vm_problem(&error, vm))
}

async fn add(session: &Session, asked: Registration) -> Result<(), Problem> {
    let catalog = session.catalog().await?;
    let known = catalog.vms().await.map_err(|error| Problem::from(&error))?;
    if known.iter().any(|vm| vm.name == asked.name) {
        return Err(Kind::VmExists { vm: asked.name }.into());
    }
    let place = find_vault(&catalog, asked.vault.as_deref(), None).await?;
    let Some(vault) = place.name else {
        let location = place.location.to_string();
        return Err(Kind::VaultNotFound { location }.into());
    };
    let mut entry = VmRecord {
        name: asked.name,
        id: VmId::generate(), // until the VM itself has said it
        qmp_socket: absolute(&asked.qmp),
        agent_socket: asked.agent.map(|path| absolute(&path)),
        host: session.here(&catalog).await?,
        excluded_disks: asked.exclude,
        included_disks: asked.include,
        machine: None, // so it must run
        vault,
        retention: None,
        created_at: jiff::Timestamp::now(),
    };
    let described = describe(&entry, &session.state()?).await?;
    if let Some(twin) = known.into_iter().find(|vm| vm.id == described.id) {
        return Err(Kind::VmExists { vm: twin.name }.into());
    }
    entry.id = described.id;
    entry.machine = Some(described.machine.clone());
    catalog
        .add_vm(&entry)
        .await
        .map_err(|error| Problem::from(&error))?;
    if entry.agent_socket.is_none() {
        note("no --agent was given: recovery points of this VM will be crash-consistent");
    }
    let result = json!({ "name": entry.name, "id": entry.id, "disks": described.machine.disks });
    session
        .output
        .result("vm_added", &result, || {
            format!(
                "VM {} ({}) is registered.\n{}",
                entry.name,
                entry.id,
                disk_table(&described)
            )
        })
        .map_err(print_problem)
}

async fn list(session: &Session) -> Result<(), Problem> {
    let vms = session
        .catalog()
        .await?
        .vms()
        .await
        .map_err(|error| Problem::from(&error))?;
    let rows: Vec<_> = vms.into_iter().map(Row::from).collect();
    session
        .output
        .list(
            "vm",
            &["name", "id", "QMP socket", "agent socket", "vault"],
            &rows,
            |vm| {
                let agent = vm.agent_socket.as_ref();
                vec![
                    vm.name.clone(),
                    vm.id.to_string(),
                    vm.qmp_socket.display().to_string(),
                    agent.map_or("-".to_owned(), |path| path.display().to_string()),
                    vm.vault.clone(),
                ]
            },
            "no VMs are registered: `tresor vm add NAME --qmp SOCKET` does",
        )
        .map_err(print_problem)
}

/// A VM in a list.
#[derive(Serialize)]
struct Row {
    name: String,
    id: VmId,
    qmp_socket: PathBuf,
    agent_socket: Option<PathBuf>,
    excluded_disks: Vec<StreamName>,
    included_disks: Vec<StreamName>,
    vault: String,
}

impl From<VmRecord> for Row {
    fn from(vm: VmRecord) -> Self {
        Self {
            name: vm.name,
            id: vm.id,
            qmp_socket: vm.qmp_socket,
            agent_socket: vm.agent_socket,
            excluded_disks: vm.excluded_disks,
            included_disks: vm.included_disks,
            vault: vm.vault,
        }
    }
}

async fn show(session: &Session, name: &str) -> Result<(), Problem> {
    let catalog = session.catalog().await?;
    let vm = open::vm(&catalog, name).await?;
    session.expect_here(&catalog, &vm).await?;
    let described = describe(&vm, &session.state()?).await?;
    let agent = match (guest_agent(&vm), &described.state) {
        (None, _) => "no socket is registered".to_owned(),
        (Some(_), VmState::Stopped) => "the VM does not run".to_owned(),
        (Some(agent), _) => probe(agent).await,
    };
    let state = match &described.state {
        VmState::Running => "running",
        VmState::Stopped => "stopped",
        VmState::Paused(state) | VmState::Other(state) => state,
    };
    let result = json!({
        "name": vm.name, "id": vm.id, "state": state, "guest_agent": agent,
        "machine": described.machine, "facts": described.facts,
    });
    session
        .output
        .result("vm", &result, || {
            format!(
                "VM {} ({}), {state}{}\n  machine: {}, {} CPUs, {}\n  guest agent: {agent}\n{}",
                vm.name,
                vm.id,
                if described.state == VmState::Stopped {
                    " (as it was last seen running)"
                } else {
                    ""
                },
                described.machine.machine,
                described.machine.cpus,
                bytes(described.machine.memory),
                disk_table(&described),
            )
        })
        .map_err(print_problem)
}

async fn probe(mut agent: QemuGuestAgent) -> String {
    match agent.probe(Duration::from_secs(5)).await {
        Ok(info) if info.can_freeze => format!("{} answers and can freeze", info.version),
        Ok(info) => format!("{} answers, but may not freeze", info.version),
        Err(error) => format!("does not answer: {error}"),
    }
}

fn disk_table(described: &VmDescription) -> String {
    let mut table = plain_table(&["disk", "size", "format", "front end", "backed up"]);
    for disk in &described.machine.disks {
        let backed_up = disk
            .excluded
            .as_ref()
            .map_or("yes".to_owned(), |why| format!("no: {why}"));
        table.add_row([
            disk.name.to_string(),
            bytes(disk.size),
            disk.format.clone(),
            disk.front_end.clone(),
            backed_up,
        ]);
    }
    table.to_string()
}
