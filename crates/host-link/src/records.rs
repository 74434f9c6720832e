//! Documents as the records of the catalog that they are.

use tresor_catalog::{Datasource, VmRecord};

use crate::wire::{Found, Vm};

impl From<VmRecord> for Vm {
    fn from(vm: VmRecord) -> Self {
        Self {
            name: vm.name,
            id: vm.id,
            qmp_socket: vm.qmp_socket,
            agent_socket: vm.agent_socket,
            excluded_disks: vm.excluded_disks,
            included_disks: vm.included_disks,
            machine: vm.machine,
            host: vm.host,
            vault: vm.vault,
            retention: vm.retention,
            created_at: vm.created_at,
        }
    }
}

impl From<Vm> for VmRecord {
    fn from(vm: Vm) -> Self {
        Self {
            name: vm.name,
            id: vm.id,
            qmp_socket: vm.qmp_socket,
            agent_socket: vm.agent_socket,
            excluded_disks: vm.excluded_disks,
            included_disks: vm.included_disks,
            machine: vm.machine,
            host: vm.host,
            vault: vm.vault,
            retention: vm.retention,
            created_at: vm.created_at,
        }
    }
}

impl From<Datasource> for Found {
    fn from(found: Datasource) -> Self {
        Self {
            vm: found.vm,
            name: found.name,
            qmp_socket: found.qmp_socket,
            agent_socket: found.agent_socket,
            machine: found.machine,
            state: found.state,
            problem: found.problem,
        }
    }
}

impl From<Found> for Datasource {
    fn from(found: Found) -> Self {
        Self {
            vm: found.vm,
            name: found.name,
            qmp_socket: found.qmp_socket,
            agent_socket: found.agent_socket,
            machine: found.machine,
            state: found.state,
            problem: found.problem,
        }
    }
}
