//! From QMP and host errors to the port's errors.

use tresor_disk::{Error, ErrorKind};

/// For `map_err`: a QMP error in `step`.
pub(crate) fn qmp(step: &str) -> impl FnOnce(tresor_qmp::Error) -> Error {
    let step = step.to_owned();
    move |source| Error::new(kind_of(source.kind()), step).because(source)
}

/// For `map_err`: an error of the host's in `step`.
pub(crate) fn host(step: impl Into<String>) -> impl FnOnce(std::io::Error) -> Error {
    let step = step.into();
    move |source| Error::new(ErrorKind::Host, step).because(source)
}

fn kind_of(kind: tresor_qmp::ErrorKind) -> ErrorKind {
    match kind {
        tresor_qmp::ErrorKind::Unreachable | tresor_qmp::ErrorKind::Closed => {
            ErrorKind::Unreachable
        }
        tresor_qmp::ErrorKind::Busy => ErrorKind::Busy,
        tresor_qmp::ErrorKind::Timeout => ErrorKind::Timeout,
        tresor_qmp::ErrorKind::Command(_) => ErrorKind::Refused,
        _ => ErrorKind::Protocol,
    }
}
