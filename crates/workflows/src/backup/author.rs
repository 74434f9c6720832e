//! Who wrote the point before, and what of it is taken over.
//!
//! What did not change on a disk is taken over from the point before as it stands there, unread. In a
//! domain with several machines each of them can make a newer point of this VM, of whatever content.
//! So a point is built on when this machine wrote it; or when the VM itself vouches for it: its bitmap
//! bears the tag of that point's session, and no other session has that tag. The second is so when
//! this machine has lost its state directory, and when the VM and its images came from another one,
//! which had the disk itself in its hands when it wrote the point.

use tresor_model::{DiskRecord, ReadMode, RecoveryPoint, StreamName};
use tresor_problem::Problem;
use tresor_vault::Vault;

use super::BackupContext;
use crate::translate::vault_problem;

/// Why there is no point to build on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoBase {
    /// There is none, or not of this disk.
    Missing,
    /// It is of another domain.
    Elsewhere,
    /// Another machine wrote it, and nothing vouches for it.
    Stranger,
}

impl NoBase {
    /// What the new point says of it.
    pub(super) const fn reason(self) -> &'static str {
        match self {
            Self::Missing => "the last recovery point has nothing to build on",
            Self::Elsewhere => "the last point is of another domain",
            Self::Stranger => "the last recovery point was written by another machine",
        }
    }
}

/// The disks of the point for which the VM's own bitmap would vouch. Asks the vault only for those
/// that this machine did not write.
pub(super) async fn vouched(
    vault: &Vault,
    parent: Option<&RecoveryPoint>,
) -> Result<Vec<StreamName>, Problem> {
    let mut vouched = Vec::new();
    let Some(parent) = parent else {
        return Ok(vouched);
    };
    for disk in &parent.disks {
        if vault.wrote(&disk.stream) {
            continue;
        }
        let only = vault.is_only_of_tag(parent, &disk.tracking.tag).await;
        if only.map_err(|error| vault_problem(&error, vault.location()))? {
            vouched.push(disk.stream.name.clone());
        }
    }
    Ok(vouched)
}

/// Whether a disk of the point before may be built on.
pub(super) fn check_author(
    ctx: &BackupContext,
    record: &DiskRecord,
    judged: &ReadMode,
) -> Result<(), NoBase> {
    let is_vouched = ctx.vouched.contains(&record.stream.name);
    decide(ctx.services.vault.wrote(&record.stream), is_vouched, judged)
}

/// A bitmap vouches only where it is believed: what it does not list is what that point has.
fn decide(is_own: bool, is_vouched: bool, judged: &ReadMode) -> Result<(), NoBase> {
    match judged {
        _ if is_own => Ok(()),
        ReadMode::Incremental { .. } if is_vouched => Ok(()),
        ReadMode::Incremental { .. } | ReadMode::Full { .. } => Err(NoBase::Stranger),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strangers_point_is_built_on_only_by_the_word_of_the_bitmap() {
        let changed = ReadMode::Incremental {
            bitmap: "b".to_owned(),
        };
        let full = ReadMode::Full {
            reason: "no bitmap".to_owned(),
        };
        let cases = [
            (true, false, &changed, Ok(())),
            (true, false, &full, Ok(())),
            (false, true, &changed, Ok(())),
            (false, true, &full, Err(NoBase::Stranger)),
            (false, false, &changed, Err(NoBase::Stranger)),
            (false, false, &full, Err(NoBase::Stranger)),
        ];
        for (own, vouched, judged, expected) in cases {
            let decided = decide(own, vouched, judged);
            assert_eq!(decided, expected, "{own} {vouched} {judged:?}");
        }
    }
}
