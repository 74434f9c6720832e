//! The TPM emulator of a restored machine: where its state goes, and how it is started. Pure.
//!
//! QEMU reaches its TPM through a socket behind which swtpm must listen before QEMU starts. The
//! state is restored into a directory of its own, under the names that swtpm knows, so that the
//! guest finds the keys it had sealed.

use std::path::{Path, PathBuf};

use tresor_model::{Attachment, AttachmentRole, TPM_STATE_FILES};

/// The directory of the state, within that of the restore.
const STATE_DIR: &str = "tpm";

/// An emulator to be started before the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TpmEmulator {
    /// Where its state is.
    pub state_dir: PathBuf,
    /// Where QEMU expects it to listen.
    pub socket: PathBuf,
    /// Whether it is a TPM 2.0.
    pub version_2: bool,
}

/// Where an attachment goes, when it is TPM state under one of swtpm's names.
pub(super) fn state_file(to: &Path, attachment: &Attachment) -> Option<PathBuf> {
    if attachment.role != AttachmentRole::TpmState {
        return None;
    }
    let name = Path::new(&attachment.path).file_name()?.to_str()?;
    let known = TPM_STATE_FILES.iter().find(|known| **known == name)?;
    Some(to.join(STATE_DIR).join(known))
}

/// The emulator for a planned command line; `None` when the machine has none, or its state is not
/// in the recovery point.
pub(super) fn plan_tpm(
    command_line: &[String],
    attachments: &[Attachment],
    to: &Path,
) -> Option<TpmEmulator> {
    let state: Vec<PathBuf> = attachments
        .iter()
        .filter_map(|attachment| state_file(to, attachment))
        .collect();
    let first = state.first()?;
    let chardev = values(command_line, "-tpmdev").find_map(|value| key(value, "chardev"))?;
    let socket = values(command_line, "-chardev")
        .find(|value| key(value, "id") == Some(chardev))
        .and_then(|value| key(value, "path"))?;
    Some(TpmEmulator {
        state_dir: first.parent()?.to_owned(),
        socket: PathBuf::from(socket),
        version_2: state.iter().any(|path| {
            let name = path.file_name().unwrap_or_default();
            name.to_string_lossy().starts_with("tpm2-")
        }),
    })
}

/// The values of an option, in order.
fn values<'a>(command_line: &'a [String], option: &'a str) -> impl Iterator<Item = &'a str> {
    command_line
        .windows(2)
        .filter(move |pair| pair[0] == option || pair[0].strip_prefix('-') == Some(option))
        .map(|pair| pair[1].as_str())
}

/// The value of a key in an option's value.
fn key<'a>(value: &'a str, wanted: &str) -> Option<&'a str> {
    value.split(',').find_map(|part| {
        let (name, value) = part.split_once('=')?;
        (name == wanted).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use tresor_model::StreamName;

    use super::*;

    fn state(path: &str) -> Attachment {
        Attachment {
            name: StreamName::new("tpm-state").expect("valid"),
            role: AttachmentRole::TpmState,
            path: path.to_owned(),
            size: 1,
        }
    }

    fn plan(line: &str, attachments: &[Attachment]) -> Option<TpmEmulator> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        plan_tpm(&words, attachments, Path::new("/r"))
    }

    const LINE: &str = "qemu -chardev socket,id=other,path=/r/run/o -chardev \
                        socket,id=chrtpm,path=/r/run/tpm.sock -tpmdev emulator,id=t,chardev=chrtpm";

    #[test]
    fn the_emulator_listens_where_the_machine_looks_for_it() {
        let emulator = plan(LINE, &[state("/var/lib/swtpm/tpm2-00.permall")]);
        let expected = TpmEmulator {
            state_dir: PathBuf::from("/r/tpm"),
            socket: PathBuf::from("/r/run/tpm.sock"),
            version_2: true,
        };
        assert_eq!(emulator, Some(expected));
        let old = plan(LINE, &[state("/var/lib/swtpm/tpm-00.permall")]);
        assert!(!old.expect("there is state").version_2);
    }

    #[test]
    fn without_state_or_without_a_tpm_nothing_is_started() {
        assert_eq!(plan(LINE, &[]), None);
        assert_eq!(plan("qemu -m 128", &[state("/x/tpm2-00.permall")]), None);
    }

    #[test]
    fn a_name_that_swtpm_does_not_know_is_no_state() {
        let to = Path::new("/r");
        assert_eq!(state_file(to, &state("/x/../../etc/passwd")), None);
        assert_eq!(state_file(to, &state("/x/..")), None);
    }
}
