//! VMs of this machine, found by their QMP sockets.
//!
//! # Invariants
//! - A VM that somebody works on is not asked: a QMP socket serves one client at a time. It counts as seen.
//! - A socket that does not answer holds nobody up for longer than its limit.
//! - What was seen once and does not answer now is stopped, as long as its images can be described; else it is
//!   not named any more.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use futures::{StreamExt as _, stream};
use tresor_catalog::{Datasource, VmRecord};
use tresor_disk::{ErrorKind, SnapshotProvider as _, VmDescription, VmState};
use tresor_disk_qemu::{QemuConfig, VmProvider};
use tresor_model::VmId;
use tresor_qmp::ConnectOptions;

use crate::{command_line::agent_of, lock::HostLock, state::StateDir, vm::vm_problem};

/// So many sockets are asked at once.
const AT_ONCE: usize = 8;
/// More sockets than a machine has VMs.
const MOST: usize = 4096;

const LIMITS: ConnectOptions = ConnectOptions {
    connect_limit: Duration::from_secs(3),
    command_limit: Duration::from_secs(10),
};

/// Finds VMs, and remembers what it has found.
pub struct Discovery {
    state: StateDir,
    /// Where QMP sockets may be: paths with `*` and `?`.
    patterns: Vec<String>,
    known: BTreeMap<VmId, Datasource>,
}

impl Discovery {
    /// A discovery that knows already of some VMs: what was found before a restart, and what is registered.
    #[must_use]
    pub fn new(state: StateDir, patterns: Vec<String>, known: Vec<Datasource>) -> Self {
        let known = known.into_iter().map(|seen| (seen.vm, seen)).collect();
        Self {
            state,
            patterns,
            known,
        }
    }

    /// Looks around. All VMs that are there now.
    pub async fn look(&mut self) -> Vec<Datasource> {
        let mut sockets = self.sockets();
        sockets.extend(self.known.values().map(|seen| seen.qmp_socket.clone()));
        sockets.sort();
        sockets.dedup();
        sockets.truncate(MOST);
        let by_socket: BTreeMap<_, _> = self
            .known
            .values()
            .map(|seen| (seen.qmp_socket.clone(), seen.clone()))
            .collect();
        let asked = sockets.into_iter().map(|socket| {
            let known = by_socket.get(&socket).cloned();
            let state = self.state.clone();
            async move { ask(&state, socket, known).await }
        });
        let found: Vec<_> = stream::iter(asked)
            .buffer_unordered(AT_ONCE)
            .filter_map(std::future::ready)
            .collect()
            .await;
        self.known.clear();
        for seen in found {
            // One that moved to another socket answers there; at the old one it seems to be stopped.
            let known = self.known.entry(seen.vm).or_insert_with(|| seen.clone());
            if known.state == STOPPED {
                *known = seen;
            }
        }
        self.known.values().cloned().collect()
    }

    fn sockets(&self) -> Vec<PathBuf> {
        let found = self.patterns.iter().filter_map(|pattern| {
            let listed = glob::glob(pattern);
            listed
                .inspect_err(|error| tracing::warn!(pattern, %error, "this is no pattern of paths"))
                .ok()
        });
        found.flatten().filter_map(Result::ok).collect()
    }
}

const STOPPED: &str = "stopped";

/// What is behind a socket; `None`: no VM.
async fn ask(state: &StateDir, socket: PathBuf, known: Option<Datasource>) -> Option<Datasource> {
    if let Some(known) = &known
        && let Err(problem) =
            HostLock::take(&state.lock_dir(), (known.vm, &known.name), state.path())
        && problem.is("VmBusy")
    {
        return Some(known.clone());
    }
    let mut config = QemuConfig::new(&socket);
    config.limits = LIMITS;
    if let Some(dir) = state.runtime_dir() {
        config.runtime_dir = dir;
    }
    config.machine = known.as_ref().and_then(|known| known.machine.clone());
    match VmProvider::new(config).describe().await {
        Ok(described) => Some(seen(socket, described)),
        Err(error) => match known {
            // It is there, and somebody else talks to it.
            Some(known) if error.kind() == ErrorKind::Busy => Some(known),
            Some(known) => {
                let problem = vm_problem(&error, &known_vm(&known));
                (error.kind() != ErrorKind::Unreachable).then_some(Datasource {
                    problem: Some(problem),
                    ..known
                })
            }
            None => {
                tracing::debug!(socket = %socket.display(), %error, "no VM answers here");
                None
            }
        },
    }
}

fn seen(socket: PathBuf, described: VmDescription) -> Datasource {
    let VmDescription {
        id, state, machine, ..
    } = described;
    let name = machine.name.clone();
    Datasource {
        vm: id,
        name: name.unwrap_or_else(|| id.to_string()),
        agent_socket: agent_of(&machine),
        qmp_socket: socket,
        machine: Some(machine),
        state: match state {
            VmState::Running => "running".to_owned(),
            VmState::Stopped => STOPPED.to_owned(),
            VmState::Paused(state) | VmState::Other(state) => state,
        },
        problem: None,
    }
}

/// The datasource as a VM that can be named in a problem.
fn known_vm(known: &Datasource) -> VmRecord {
    VmRecord {
        name: known.name.clone(),
        id: known.vm,
        qmp_socket: known.qmp_socket.clone(),
        agent_socket: known.agent_socket.clone(),
        excluded_disks: Vec::new(),
        included_disks: Vec::new(),
        machine: None,
        vault: String::new(),
        retention: None,
        created_at: jiff::Timestamp::UNIX_EPOCH,
        host: None,
    }
}
