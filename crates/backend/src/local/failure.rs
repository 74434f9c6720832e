//! Which kind of backend error a file-system error is.

use std::io;

use super::fs::FsError;
use crate::{Error, ErrorKind};

/// Judges the cause by its class.
///
/// What a later call may mend (a server that is away, a table that is full for now) is
/// `Unavailable`; what is not understood is `Io`, which nobody retries blindly.
fn classify(cause: io::ErrorKind) -> ErrorKind {
    use io::ErrorKind as Cause;
    match cause {
        Cause::NotFound => ErrorKind::NotFound,
        Cause::StorageFull | Cause::QuotaExceeded => ErrorKind::Full,
        Cause::ReadOnlyFilesystem | Cause::PermissionDenied => ErrorKind::Denied,
        Cause::StaleNetworkFileHandle
        | Cause::TimedOut
        | Cause::HostUnreachable
        | Cause::NetworkUnreachable
        | Cause::Interrupted
        | Cause::WouldBlock
        | Cause::OutOfMemory
        | Cause::ResourceBusy => ErrorKind::Unavailable,
        // No link nor rename without overwrite; a second file system or a foreign thing inside.
        Cause::Unsupported
        | Cause::CrossesDevices
        | Cause::NotADirectory
        | Cause::IsADirectory
        | Cause::AlreadyExists => ErrorKind::Unfit,
        _ => ErrorKind::Io,
    }
}

/// The backend error of `operation` on `object` that `cause` made.
pub(super) fn failed(operation: &'static str, object: &str, cause: FsError) -> Error {
    let kind = match classify(cause.kind()) {
        // Objects that are missing are told apart before; here the tree itself is missing.
        ErrorKind::NotFound => ErrorKind::Unavailable,
        kind => kind,
    };
    Error::new(kind, operation, object).because(cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_map_to_kinds() {
        for (errno, want) in [
            (rustix::io::Errno::NOSPC, ErrorKind::Full),
            (rustix::io::Errno::DQUOT, ErrorKind::Full),
            (rustix::io::Errno::ROFS, ErrorKind::Denied),
            (rustix::io::Errno::ACCESS, ErrorKind::Denied),
            (rustix::io::Errno::PERM, ErrorKind::Denied),
            (rustix::io::Errno::STALE, ErrorKind::Unavailable),
            (rustix::io::Errno::IO, ErrorKind::Io),
            (rustix::io::Errno::XDEV, ErrorKind::Unfit),
            (rustix::io::Errno::NOTDIR, ErrorKind::Unfit),
        ] {
            let cause = FsError::new("link", "a", io::Error::from(errno));
            assert_eq!(failed("put", "a", cause).kind(), want, "{errno}");
        }
    }
}
