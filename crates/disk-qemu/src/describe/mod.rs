//! What a VM is: identity, state, machine, disks. Looks only.

mod attachments;
mod bypass;
mod command_line;
mod devices;
mod exclusion;
mod identity;
mod process;

use std::path::Path;

use jiff::Timestamp;
use tresor_disk::{Error, VmDescription, VmState};
use tresor_model::{Fact, Firmware, HypervisorSource, MachineDefinition};
use tresor_qmp::{
    Client,
    commands::machine::{QueryCpus, QueryMemorySize, QueryName, QueryStatus},
};

pub(crate) use self::{
    devices::{NamedDisk, device_path, named_disks},
    exclusion::{exclusion, untracked},
    identity::{chain_identities, identify, image_identity, process_of},
};
use crate::{failure, layout::Layout};

/// Who says what the facts say.
const OBSERVER: &str = "qmp";

/// Looks at the whole VM.
pub(crate) async fn describe(client: &Client, socket: &Path) -> Result<VmDescription, Error> {
    let step = "describe the VM";
    let id = identify(client, socket).await?;
    let name = client
        .run(&QueryName {})
        .await
        .map_err(failure::qmp(step))?
        .name;
    let cpus = client
        .run(&QueryCpus {})
        .await
        .map_err(failure::qmp(step))?;
    let memory = client
        .run(&QueryMemorySize {})
        .await
        .map_err(failure::qmp(step))?;
    let layout = Layout::read(client).await?;
    let (arguments, facts) = command_line_of(client).await;
    let options = command_line::parse(&arguments);
    let mut disks = devices::machine_disks(client, &layout).await?;
    let place = |id: &str| command_line::place_of_id(&arguments, id).unwrap_or(usize::MAX);
    disks.sort_by_key(|disk| place(disk.name.as_str()));
    let machine = MachineDefinition {
        id,
        name,
        machine: devices::machine_type(client).await?,
        cpu_model: options.cpu.clone(),
        cpus: u32::try_from(cpus.len()).unwrap_or(u32::MAX),
        memory: memory.base_memory.saturating_add(memory.plugged_memory),
        firmware: firmware(&options, &layout),
        nics: devices::network_cards(client).await?,
        disks,
        attachments: attachments::find(client.peer(), &options, &layout).await,
        source: HypervisorSource::Qemu {
            version: client.greeting().version.to_string(),
            command_line: arguments,
        },
    };
    Ok(VmDescription {
        id,
        state: state(client).await?,
        machine,
        facts,
    })
}

/// Whether the VM runs.
pub(crate) async fn state(client: &Client) -> Result<VmState, Error> {
    let status = client.run(&QueryStatus {}).await;
    let status = status.map_err(failure::qmp("ask whether the VM runs"))?;
    Ok(state_of(&status.status))
}

fn state_of(word: &str) -> VmState {
    match word {
        "running" => VmState::Running,
        "paused" | "prelaunch" | "io-error" | "internal-error" | "guest-panicked" | "shutdown"
        | "suspended" | "watchdog" => VmState::Paused(word.to_owned()),
        _ => VmState::Other(word.to_owned()),
    }
}

async fn command_line_of(client: &Client) -> (Vec<String>, Vec<Fact>) {
    let now = Timestamp::now();
    let version = client.greeting().version.to_string();
    let mut facts = vec![Fact::present("qemu.version", version, OBSERVER, now)];
    let name = "qemu.pid";
    let Some(pid) = client.peer().pid else {
        let reason = "the kernel does not tell who listens on the socket";
        facts.push(Fact::not_observed(name, reason, OBSERVER, now));
        return (Vec::new(), facts);
    };
    facts.push(Fact::present(name, pid, OBSERVER, now));
    match process::command_line(pid).await {
        Ok(arguments) if is_qemu(&arguments) => (arguments, facts),
        other => {
            let reason = match other {
                Ok(_) => "another process opened the socket for QEMU".to_owned(),
                Err(error) => error.to_string(),
            };
            facts.push(Fact::not_observed(
                "qemu.command-line",
                reason,
                OBSERVER,
                now,
            ));
            (Vec::new(), facts)
        }
    }
}

/// A socket that QEMU was handed (by libvirt) was opened by another process.
fn is_qemu(arguments: &[String]) -> bool {
    let program = arguments.first().map(Path::new).and_then(Path::file_name);
    program.is_some_and(|name| name.to_string_lossy().contains("qemu"))
}

fn firmware(options: &command_line::Options, layout: &Layout) -> Firmware {
    if let Some(kernel) = &options.kernel {
        tracing::trace!(kernel, "the VM boots a kernel directly");
        return Firmware::DirectKernel {
            command_line: options.append.clone().unwrap_or_default(),
        };
    }
    if layout.disks().any(|disk| devices::is_flash(&disk)) {
        return Firmware::Uefi {
            secure_boot: options.secure_boot,
        };
    }
    Firmware::Bios {
        image: options.bios.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_migrating_vm_is_neither_running_nor_paused() {
        assert_eq!(state_of("running"), VmState::Running);
        assert_eq!(
            state_of("prelaunch"),
            VmState::Paused("prelaunch".to_owned())
        );
        for word in [
            "inmigrate",
            "postmigrate",
            "finish-migrate",
            "from-the-future",
        ] {
            assert_eq!(state_of(word), VmState::Other(word.to_owned()));
        }
    }
}
