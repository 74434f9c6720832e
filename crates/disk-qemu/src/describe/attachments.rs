//! Files that belong to the machine and are not disks: kernel, flash, TPM state.

use std::path::{Path, PathBuf};

use tresor_model::{Attachment, AttachmentRole, StreamName, TPM_STATE_FILES};
use tresor_qmp::Peer;

use super::{command_line::Options, devices::is_flash, process};
use crate::layout::Layout;

/// Most processes that are looked at for the TPM emulator.
const MAX_PROCESSES: usize = 100_000;

/// All that are there. A file that cannot be looked at is left out, with a line in the log.
pub(super) async fn find(peer: Peer, options: &Options, layout: &Layout) -> Vec<Attachment> {
    let mut wanted: Vec<(AttachmentRole, String)> = Vec::new();
    let options_files = [
        (AttachmentRole::Kernel, options.kernel.clone()),
        (AttachmentRole::Initrd, options.initrd.clone()),
        (AttachmentRole::FirmwareCode, options.bios.clone()),
    ];
    wanted.extend(
        options_files
            .into_iter()
            .filter_map(|(role, path)| Some((role, path?))),
    );
    for flash in layout.disks().filter(is_flash) {
        let role = if flash.read_only {
            AttachmentRole::FirmwareCode
        } else {
            AttachmentRole::Nvram
        };
        wanted.extend(flash.file.map(|path| (role, path)));
    }
    if let Some(socket) = &options.tpm_socket
        && let Some(directory) = tpm_directory(socket).await
    {
        let files = TPM_STATE_FILES.map(|name| directory.join(name));
        let there = files.into_iter().filter(|path| path.is_file());
        wanted.extend(there.map(|path| (AttachmentRole::TpmState, path.display().to_string())));
    }
    let mut attachments: Vec<Attachment> = Vec::new();
    for (role, path) in wanted {
        let path = process::resolve(peer.pid, &path).await;
        attachments.extend(attach(role, &path, &attachments).await);
    }
    attachments
}

async fn attach(role: AttachmentRole, path: &Path, taken: &[Attachment]) -> Option<Attachment> {
    let metadata = match tokio::fs::metadata(path).await {
        Ok(metadata) if metadata.is_file() => metadata,
        // `-bios` may name a file in QEMU's own directories: part of its package, not of the VM.
        Ok(_) => return None,
        Err(error) => {
            tracing::info!(path = %path.display(), %error, "a file of the machine is left out");
            return None;
        }
    };
    Some(Attachment {
        name: choose_name(role, taken)?,
        role,
        path: path.display().to_string(),
        size: metadata.len(),
    })
}

fn choose_name(role: AttachmentRole, taken: &[Attachment]) -> Option<StreamName> {
    let word = match role {
        AttachmentRole::Kernel => "kernel",
        AttachmentRole::Initrd => "initrd",
        AttachmentRole::FirmwareCode => "firmware-code",
        AttachmentRole::Nvram => "nvram",
        AttachmentRole::TpmState => "tpm-state",
    };
    let numbered = (2..100).map(|number| format!("{word}-{number}"));
    std::iter::once(word.to_owned())
        .chain(numbered)
        .filter_map(|name| StreamName::new(name).ok())
        .find(|name| taken.iter().all(|other| other.name != *name))
}

/// The directory where the swtpm behind this socket keeps its state: said on its command line.
async fn tpm_directory(socket: &str) -> Option<PathBuf> {
    let mut processes = tokio::fs::read_dir("/proc").await.ok()?;
    for _ in 0..MAX_PROCESSES {
        let entry = processes.next_entry().await.ok()??;
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        // Processes come and go; one that is gone is not the one.
        let Ok(arguments) = process::command_line(pid).await else {
            continue;
        };
        if let Some(directory) = state_directory(&arguments, socket) {
            return Some(process::resolve(Some(pid), &directory).await);
        }
    }
    None
}

/// The state directory, when this is the command line of the swtpm with that socket.
fn state_directory(arguments: &[String], socket: &str) -> Option<String> {
    let program = Path::new(arguments.first()?).file_name()?.to_str()?;
    let serves = arguments.iter().any(|argument| {
        argument
            .split(',')
            .any(|part| part.strip_prefix("path=") == Some(socket))
    });
    if program != "swtpm" || !serves {
        return None;
    }
    let state = arguments
        .iter()
        .position(|argument| argument == "--tpmstate")
        .and_then(|at| arguments.get(at + 1))?;
    state.split(',').find_map(|part| {
        let directory = part
            .strip_prefix("dir=")
            .or_else(|| part.strip_prefix("backend-uri=dir://"));
        directory.map(str::to_owned)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_of_the_right_swtpm_is_found() {
        let line = "/usr/bin/swtpm socket --tpmstate dir=/var/lib/tpm,mode=0600 \
                    --ctrl type=unixio,path=/run/tpm.sock --tpm2";
        let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let found = state_directory(&arguments, "/run/tpm.sock");
        assert_eq!(found.as_deref(), Some("/var/lib/tpm"));
        assert_eq!(state_directory(&arguments, "/run/other.sock"), None);
        assert_eq!(state_directory(&[], "/run/tpm.sock"), None);
    }
}
