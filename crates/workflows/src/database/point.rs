//! The recovery point that a backup of the database is.

use jiff::Timestamp;
use tresor_model::{
    Consistency, ConsistencyReport, Firmware, HypervisorSource, JobId, MachineDefinition,
    RecoveryPoint, SessionId, StreamName, StreamRecord,
};
use tresor_problem::Problem;
use tresor_vault_format::database::{DumpHead, STREAM};

use super::internal;

/// What stands where a VM's name does.
pub const NAME: &str = "tresor-database";

pub(super) fn stream_name() -> Result<StreamName, Problem> {
    StreamName::new(STREAM).map_err(|error| internal(&error.to_string()))
}

/// A point of a machine that is none: no disks, nothing to boot.
pub(super) fn assemble(
    job: JobId,
    head: &DumpHead,
    sequence: u64,
    stream: StreamRecord,
) -> RecoveryPoint {
    RecoveryPoint {
        id: SessionId::from_uuid(*job.as_uuid()).into(),
        vm: head.installation,
        vm_name: NAME.to_owned(),
        taken_at: head.made_at,
        committed_at: Timestamp::now(),
        job,
        parent: None,
        sequence,
        copied_from: None,
        consistency: ConsistencyReport {
            achieved: Consistency::Application,
            proof: "one transaction of the database".to_owned(),
            attempts: Vec::new(),
            file_systems_frozen: None,
            file_systems_thawed: None,
            frozen_us: None,
        },
        machine: MachineDefinition {
            id: head.installation,
            name: None,
            machine: "none".to_owned(),
            cpu_model: None,
            cpus: 0,
            memory: 0,
            firmware: Firmware::Bios { image: None },
            nics: Vec::new(),
            disks: Vec::new(),
            attachments: Vec::new(),
            source: HypervisorSource::Qemu {
                version: String::new(),
                command_line: Vec::new(),
            },
        },
        disks: Vec::new(),
        attachments: vec![stream],
        facts: Vec::new(),
        warnings: Vec::new(),
        damage_seen: Vec::new(),
    }
}
