//! `tresor vm …`

use std::{path::PathBuf, time::Duration};

use serde_json::json;
use tresor_catalog::VmEntry;
use tresor_disk::{SnapshotProvider as _, VmDescription, VmState};
use tresor_disk_qemu::QemuProvider;
use tresor_link::{QemuGuestAgent, Quiescer as _};
use tresor_model::StreamName;
use tresor_problem::{Kind, Problem};
use tresor_workflows::snapshot_problem;

use super::{
    backup::guest_agent,
    open::{self, absolute, find_vault},
    session::{Session, print_problem},
};
use crate::{
    args::VmCommand,
    output::{bytes, note, plain_table},
};

pub(super) async fn run(command: VmCommand, session: &Session) -> Result<(), Problem> {
    match command {
        VmCommand::Add { name, qmp, agent, vault, exclude } => {
            add(session, Registration { name, qmp, agent, vault, exclude }).await
        }
        VmCommand::List => list(session).await,
        VmCommand::Show { name } => show(session, &name).await,
    }
}

struct Registration {
    name: String,
    qmp: PathBuf,
    agent: Option<PathBuf>,
    vault: Option<String>,
    exclude: Vec<StreamName>,
}

/// Connects to a VM's QEMU.
pub(super) async fn connect(vm: &VmEntry) -> Result<QemuProvider, Problem> {
    let provider = QemuProvider::connect(tresor_disk_qemu::QemuConfig::new(&vm.qmp_socket)).await;
    provider.map_err(|error| snapshot_problem(&error, &vm.name, &vm.qmp_socket))
}

async fn describe(vm: &VmEntry) -> Result<VmDescription, Problem> {
    let described = connect(vm).await?.describe().await;
    described.map_err(|error| snapshot_problem(&error, &vm.name, &vm.qmp_socket))
}

async fn add(session: &Session, asked: Registration) -> Result<(), Problem> {
    let catalog = session.catalog().await?;
    let known = catalog.vms().await.map_err(|error| Problem::from(&error))?;
    if known.iter().any(|vm| vm.name == asked.name) {
        return Err(Kind::VmExists { vm: asked.name }.into());
    }
    let vault = match &asked.vault {
        Some(named) => {
            Some(find_vault(&catalog, Some(named), None).await?.path.display().to_string())
        }
        None => None,
    };
    let mut entry = VmEntry {
        name: asked.name,
        id: tresor_model::VmId::generate(),
        qmp_socket: absolute(&asked.qmp).display().to_string(),
        agent_socket: asked.agent.map(|path| absolute(&path).display().to_string()),
        excluded: asked.exclude,
        vault,
    };
    let described = describe(&entry).await?;
    entry.id = described.id;
    catalog.add_vm(&entry).await.map_err(|error| Problem::from(&error))?;
    if entry.agent_socket.is_none() {
        note("no --agent was given: recovery points of this VM will be crash-consistent");
    }
    let result = json!({ "name": entry.name, "id": entry.id, "disks": described.machine.disks });
    session
        .output
        .result("vm_added", &result, || format!("VM {} ({}) is registered.\n{}", entry.name, entry.id, disk_table(&described)))
        .map_err(print_problem)
}

async fn list(session: &Session) -> Result<(), Problem> {
    let vms = session.catalog().await?.vms().await.map_err(|error| Problem::from(&error))?;
    session
        .output
        .list(
            "vm",
            &["name", "id", "QMP socket", "agent socket", "vault"],
            &vms,
            |vm| {
                let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
                vec![
                    vm.name.clone(),
                    vm.id.to_string(),
                    vm.qmp_socket.clone(),
                    or_dash(&vm.agent_socket),
                    or_dash(&vm.vault),
                ]
            },
            "no VMs are registered: `tresor vm add NAME --qmp SOCKET` does",
        )
        .map_err(print_problem)
}

async fn show(session: &Session, name: &str) -> Result<(), Problem> {
    let catalog = session.catalog().await?;
    let vm = open::vm(&catalog, name).await?;
    let described = describe(&vm).await?;
    let agent = match guest_agent(&vm)? {
        None => "no socket is registered".to_owned(),
        Some(agent) => probe(agent).await,
    };
    let state = match &described.state {
        VmState::Running => "running",
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
                "VM {} ({}), {state}\n  machine: {}, {} CPUs, {}\n  guest agent: {agent}\n{}",
                vm.name,
                vm.id,
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
        let backed_up = disk.excluded.as_ref().map_or("yes".to_owned(), |why| format!("no: {why}"));
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
