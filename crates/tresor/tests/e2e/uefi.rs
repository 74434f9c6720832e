//! A machine with UEFI firmware and a TPM.

use std::{fs, path::Path, process::Stdio, time::Duration};

use tempfile::TempDir;
use tokio::process::{Child, Command};
use tresor_testkit::{Booted, Guest};

use crate::lab::{Lab, VM, write_private};

const STATE: &str = "tpm2-00.permall";

/// A TPM emulator that listens; ends with the value.
struct Tpm {
    dir: TempDir,
    _emulator: Child,
}

impl Tpm {
    async fn start() -> Self {
        // Short, so that the socket's path fits.
        let dir = tempfile::Builder::new().prefix("tpm-").tempdir_in("/tmp");
        let dir = dir.unwrap();
        let state = dir.path().join("state");
        fs::create_dir(&state).unwrap();
        let socket = dir.path().join("sock");
        let emulator = Command::new("swtpm")
            .args(["socket", "--tpm2", "--terminate", "--tpmstate"])
            .arg(format!("dir={}", state.display()))
            .arg("--ctrl")
            .arg(format!("type=unixio,path={}", socket.display()))
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        while !socket.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Self {
            dir,
            _emulator: emulator,
        }
    }

    fn chardev(&self) -> String {
        let socket = self.dir.path().join("sock");
        format!("socket,id=chrtpm,path={}", socket.display())
    }

    fn state(&self) -> Vec<u8> {
        fs::read(self.dir.path().join("state").join(STATE)).unwrap()
    }
}

/// Firmware, its variables and the TPM's state come out of the vault, and the restored machine
/// boots by them where nothing of the old one is left.
#[tokio::test]
async fn a_uefi_machine_with_a_tpm_boots_from_its_vault_alone() {
    let tpm = Tpm::start().await;
    let (chardev, emulator) = (tpm.chardev(), "emulator,id=tpm0,chardev=chrtpm");
    let guest = Guest::builder()
        .uefi()
        .extra_arguments(&["-chardev", &chardev, "-tpmdev", emulator])
        .extra_arguments(&["-device", "tpm-crb,tpmdev=tpm0"])
        .start()
        .await
        .unwrap();
    let lab = Lab::with(&guest).await;
    let stop = guest
        .monitor()
        .unwrap()
        .execute("stop", serde_json::Value::Null);
    stop.await.unwrap();
    let (nvram, state) = (fs::read(guest.nvram()).unwrap(), tpm.state());
    let point = lab.backup().await;
    let warnings = point["warnings"].to_string();
    assert!(!warnings.contains("not in the recovery point"), "{point}");
    drop((guest, tpm));
    let key = lab.path("recovery.txt");
    write_private(&key, &lab.recovery_key);

    let to = lab.path("restored");
    let (latest, vault) = (format!("latest:{VM}"), lab.vault());
    lab.run_elsewhere(&[
        "restore",
        &latest,
        "--to",
        text(&to),
        "--vault",
        text(&vault),
        "--key-file",
        text(&key),
    ])
    .await
    .ok();
    assert_eq!(fs::read(to.join("nvram")).unwrap(), nvram);
    assert_eq!(fs::read(to.join("tpm").join(STATE)).unwrap(), state);

    let booted = Booted::start(&to.join("boot.sh"), &to.join("run"))
        .await
        .unwrap();
    let there = "test -d /sys/firmware/efi && cat /sys/class/tpm/tpm0/tpm_version_major";
    assert_eq!(booted.exec(there).await.unwrap().ok().unwrap().trim(), "2");
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
