//! From the typed errors of the engines to problems (invariant I10). The matches are exhaustive:
//! a new kind of error asks for its problem here.

use std::path::Path;

use tresor_disk::ErrorKind as Disk;
use tresor_problem::{Kind, Problem};
use tresor_transfer::{ErrorKind as Transfer, restore::holder as holder_of};
use tresor_vault::ErrorKind as Vault;

use crate::backup::BackupContext;

/// What a failed snapshot provider means for the user.
#[must_use]
pub fn snapshot_problem(error: &tresor_disk::Error, vm: &str, socket: &str) -> Problem {
    let vm = vm.to_owned();
    let disk = || error.disk().unwrap_or("(unknown)").to_owned();
    let path = || {
        error
            .path()
            .unwrap_or(Path::new("(unknown)"))
            .display()
            .to_string()
    };
    let reason = innermost(error);
    let kind = match error.kind() {
        Disk::Unreachable => Kind::VmUnreachable {
            vm,
            socket: socket.to_owned(),
            reason,
        },
        Disk::Busy => Kind::QmpBusy {
            vm,
            socket: socket.to_owned(),
            reason,
        },
        Disk::WrongVm => Kind::VmIdentityMismatch {
            vm,
            expected: "its own".to_owned(),
            found: reason,
        },
        Disk::Unsupported => Kind::DiskUnsupported {
            vm,
            disk: disk(),
            reason,
        },
        Disk::SnapshotLost => Kind::SnapshotLost {
            vm,
            disk: disk(),
            reason,
        },
        Disk::ImageMissing => Kind::DiskImageMissing {
            vm,
            disk: disk(),
            path: path(),
        },
        Disk::ImageInUse => Kind::DiskImageInUse {
            vm,
            disk: disk(),
            path: path(),
            holder: holder(error),
            socket: socket.to_owned(),
        },
        Disk::GaveWay => Kind::VmStarted { vm },
        Disk::Cancelled => Kind::Interrupted {
            what: format!("The backup of {vm}"),
        },
        Disk::Refused | Disk::Protocol | Disk::Host | Disk::Timeout => Kind::SnapshotFailed {
            vm,
            step: error.step().to_owned(),
            reason,
        },
        _ => Kind::Internal {
            what: error.to_string(),
        },
    };
    Problem::caused_by(kind, error)
}

/// Who has the image open, as far as can be seen.
fn holder(error: &tresor_disk::Error) -> String {
    let holder = error.path().and_then(|path| holder_of(path).ok().flatten());
    holder.unwrap_or_else(|| "a process that cannot be seen from here".to_owned())
}

/// What a failed vault means for the user.
#[must_use]
pub fn vault_problem(error: &tresor_vault::Error, location: &str) -> Problem {
    if let Some(first) = first_of_session(error) {
        return vault_problem(first, location);
    }
    let location = location.to_owned();
    let kind = match error.kind() {
        Vault::NotAVault => Kind::VaultNotFound { location },
        Vault::Exists => Kind::VaultExists { location },
        Vault::VersionUnknown { object, found } => Kind::VaultVersionUnknown {
            location: format!("{location}/{object}"),
            found: found.to_string(),
        },
        Vault::KeyRejected | Vault::KeyUnusable => Kind::VaultKeyRejected { location },
        Vault::KeyMissing { object, epoch } => Kind::VaultDataKeyUnknown {
            location,
            object: object.clone(),
            number: epoch.to_string(),
        },
        Vault::OwnerOnly => Kind::VaultOwnerOnly { location },
        Vault::SlotNotFound { slot } => Kind::VaultKeySlotNotFound {
            location,
            slot: slot.to_string(),
        },
        Vault::SlotNeeded { slot, .. } => Kind::VaultKeySlotNeeded {
            slot: slot.to_string(),
            reason: innermost(error),
        },
        Vault::PointExpired { point } => Kind::PointExpired {
            point: point.to_string(),
        },
        Vault::PointDeleted { point } => Kind::PointDeleted {
            point: point.to_string(),
        },
        Vault::PointHeld { point, reason } => Kind::PointHeld {
            point: point.to_string(),
            reason: reason.clone(),
        },
        Vault::PointNotFound { point } => Kind::PointNotFound {
            point: point.to_string(),
        },
        // The next backup chooses another parent.
        Vault::BaseGone { stream } => Kind::PointExpired {
            point: format!("that {stream} is based on"),
        },
        Vault::Damaged { object, reason } => Kind::VaultDamaged {
            location,
            object: object.clone(),
            reason: reason.clone(),
        },
        Vault::ChunkDamaged {
            chunk,
            stream,
            offset,
            object,
            reason,
        } => Kind::ChunkDamaged {
            chunk: chunk.clone(),
            disk: stream.to_string(),
            offset: offset.to_string(),
            object: object.clone(),
            reason: reason.clone(),
        },
        Vault::SessionLost { session } | Vault::SessionExists { session } => Kind::SessionLost {
            session: session.to_string(),
        },
        Vault::Storage { object, kind } => storage_kind(*kind, &location, object, innermost(error)),
        Vault::Cancelled => Kind::Interrupted {
            what: "The work on the vault".to_owned(),
        },
        _ => Kind::Internal {
            what: error.to_string(),
        },
    };
    Problem::caused_by(kind, error)
}

/// The error that made a session fail, where this one only says that it failed before.
fn first_of_session(error: &tresor_vault::Error) -> Option<&tresor_vault::Error> {
    match error.kind() {
        Vault::SessionFailed => std::error::Error::source(error)?.downcast_ref(),
        _ => None,
    }
}

/// What a failed store means for the user.
#[must_use]
pub fn storage_problem(error: &tresor_backend::Error, location: &str) -> Problem {
    let kind = storage_kind(error.kind(), location, error.object(), innermost(error));
    Problem::caused_by(kind, error)
}

fn storage_kind(
    kind: tresor_backend::ErrorKind,
    location: &str,
    object: &str,
    reason: String,
) -> Kind {
    let (location, object) = (location.to_owned(), object.to_owned());
    match kind {
        tresor_backend::ErrorKind::Full => Kind::VaultStorageFull { location, object },
        tresor_backend::ErrorKind::Retained => Kind::VaultObjectRetained {
            location,
            object,
            reason,
        },
        _ => Kind::VaultStorageFailed {
            location,
            object,
            reason,
        },
    }
}

/// A damaged piece of a stream, by name.
pub(crate) fn damage_problem(damage: &tresor_vault::DamagedChunk) -> Problem {
    Kind::ChunkDamaged {
        chunk: damage.chunk.clone(),
        disk: damage.stream.to_string(),
        offset: damage.offset.to_string(),
        object: damage.object.clone(),
        reason: damage.reason.clone(),
    }
    .into()
}

/// Something that others wrote and that is not what they say.
pub(crate) fn doubt_problem(doubt: &tresor_vault::Doubt, location: &str) -> Problem {
    Kind::VaultClaimFalse {
        location: location.to_owned(),
        object: doubt.object.clone(),
        reason: doubt.reason.clone(),
    }
    .into()
}

/// A failed transfer of a backup.
pub(crate) fn transfer_problem(error: &tresor_transfer::Error, ctx: &BackupContext) -> Problem {
    match &error.kind {
        Transfer::Snapshot(error) => ctx.snapshot_problem(error),
        Transfer::Vault(error) => ctx.vault_problem(error),
        _ => restore_problem(error, ""),
    }
}

/// A failed transfer of a restore.
pub(crate) fn restore_problem(error: &tresor_transfer::Error, location: &str) -> Problem {
    let kind = match &error.kind {
        Transfer::Vault(error) => return vault_problem(error, location),
        Transfer::File { path, error } => Kind::RestoreTargetFailed {
            path: path.display().to_string(),
            reason: error.to_string(),
        },
        Transfer::TargetExists(path) => Kind::RestoreTargetExists {
            path: path.display().to_string(),
        },
        Transfer::TargetInUse { path, holder } => Kind::RestoreTargetInUse {
            path: path.display().to_string(),
            holder: holder.clone(),
        },
        Transfer::Cancelled => Kind::Interrupted {
            what: format!("The work on {}", error.stream),
        },
        _ => Kind::Internal {
            what: error.to_string(),
        },
    };
    Problem::caused_by(kind, error)
}

/// The text of the error at the bottom: the cause that the layers above only pass on.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
