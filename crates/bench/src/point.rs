//! The recovery point around a measured disk. Pure, but for the time.

use jiff::Timestamp;
use tresor_disk::SnapshotDisk;
use tresor_model::{
    Attachment, Consistency, ConsistencyReport, DiskRecord, Firmware, HypervisorSource, JobId,
    MachineDefinition, PointId, RecoveryPoint, SessionId, VmId,
};
use tresor_transfer::backup::DiskTransfer;
use uuid::Uuid;

/// The one VM of a bench's vault.
const VM: VmId = VmId::from_uuid(Uuid::from_u128(0x7e50_4be4_c000_4000_8000_0000_0000_0001));

/// The point that `session` commits.
pub(crate) fn of_disk(
    session: SessionId,
    parent: Option<PointId>,
    disk: &SnapshotDisk,
    moved: DiskTransfer,
) -> RecoveryPoint {
    let now = Timestamp::now();
    RecoveryPoint {
        id: session.into(),
        vm: VM,
        vm_name: "bench".to_owned(),
        taken_at: now,
        committed_at: now,
        job: JobId::generate(),
        parent,
        sequence: 1,
        copied_from: None,
        consistency: ConsistencyReport {
            achieved: Consistency::Crash,
            proof: "an image file that nobody writes".to_owned(),
            attempts: Vec::new(),
            file_systems_frozen: None,
            file_systems_thawed: None,
            frozen_us: None,
        },
        machine: machine(),
        disks: vec![DiskRecord {
            stream: moved.stream,
            read_mode: disk.read_mode.clone(),
            tracking: disk.tracking.clone(),
            stats: moved.stats,
            reread: None,
        }],
        attachments: Vec::new(),
        facts: Vec::new(),
        warnings: Vec::new(),
        damage_seen: Vec::new(),
    }
}

fn machine() -> MachineDefinition {
    MachineDefinition {
        id: VM,
        name: None,
        machine: "none".to_owned(),
        cpu_model: None,
        cpus: 1,
        memory: 0,
        firmware: Firmware::Bios { image: None },
        nics: Vec::new(),
        disks: Vec::new(),
        attachments: Vec::<Attachment>::new(),
        source: HypervisorSource::Qemu {
            version: String::new(),
            command_line: Vec::new(),
        },
    }
}
