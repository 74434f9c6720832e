//! A registered VM as this machine reaches it.

use std::path::PathBuf;

use tresor_catalog::VmRecord;
use tresor_disk_qemu::{QemuConfig, VmProvider};
use tresor_link::{GuardCommand, QemuGuestAgent};
use tresor_problem::Problem;
use tresor_workflows::snapshot_problem;

use crate::state::StateDir;

/// The provider of a VM, whether it runs or not. `fleecing_dirs` is where snapshots may have left
/// files.
#[must_use]
pub fn provider(vm: &VmRecord, state: &StateDir, fleecing_dirs: Vec<PathBuf>) -> VmProvider {
    let mut config = QemuConfig::new(&vm.qmp_socket);
    config.fleecing_dirs = fleecing_dirs;
    if let Some(dir) = state.runtime_dir() {
        config.runtime_dir = dir;
    }
    config.machine = vm.machine.clone();
    VmProvider::new(config)
}

/// What went wrong with a VM, as a problem that names it.
#[must_use]
pub fn vm_problem(error: &tresor_disk::Error, vm: &VmRecord) -> Problem {
    snapshot_problem(error, &vm.name, &vm.qmp_socket.display().to_string())
}

/// This program's own file, also when another version has been installed over it meanwhile: a guard must be of the
/// version that talks to it.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// The VM's guest agent, with this program (`thaw-guard`) as its guard; `None` when the VM has none.
#[must_use]
pub fn guest_agent(vm: &VmRecord) -> Option<QemuGuestAgent> {
    let socket = vm.agent_socket.as_ref()?;
    let guard = GuardCommand::new(THIS_PROGRAM).arg("thaw-guard");
    Some(QemuGuestAgent::new(socket, guard))
}
