//! Whether hardware virtualisation works here, found out by booting.
//!
//! A `/dev/kvm` that opens says nothing: in nested clouds it often crawls or aborts. So a guest is
//! booted with it once, within a limit that software emulation easily keeps; the verdict is kept
//! in `target/guest`.

use std::{fs, path::Path, time::Duration};

use anyhow::{Result, bail};

use crate::{
    assets::{Assets, QemuProgram},
    guest::{Guest, lock_file},
};

/// What runs the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accelerator {
    /// The processor.
    Kvm,
    /// QEMU itself.
    Tcg,
}

/// Emulated, a guest is up after 2 s. Slower with hardware help is no help.
const TRIAL: Duration = Duration::from_secs(8);

impl Accelerator {
    /// The accelerator to use with a QEMU: from `TRESOR_TEST_ACCEL` (`kvm` or `tcg`), or from an
    /// earlier trial, or by a trial now.
    ///
    /// # Errors
    /// The variable has another value, or the verdict cannot be kept.
    pub async fn decide(assets: &Assets, program: &QemuProgram) -> Result<Self> {
        match std::env::var("TRESOR_TEST_ACCEL").as_deref() {
            Err(_) | Ok("") => {}
            Ok("kvm") => return Ok(Self::Kvm),
            Ok("tcg") => return Ok(Self::Tcg),
            Ok(other) => bail!("TRESOR_TEST_ACCEL={other:?}: neither `kvm` nor `tcg`"),
        }
        if fs::File::options()
            .read(true)
            .write(true)
            .open("/dev/kvm")
            .is_err()
        {
            return Ok(Self::Tcg);
        }
        let kept = Assets::dir().join(format!("accelerator-{}", host_kernel()));
        let _lock = lock_file(&kept.with_extension("lock")).await?;
        if let Some(verdict) = read(&kept) {
            return Ok(verdict);
        }
        let verdict = trial(assets, program).await;
        fs::write(&kept, verdict.name())?;
        Ok(verdict)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        }
    }
}

fn read(kept: &Path) -> Option<Accelerator> {
    match fs::read_to_string(kept).ok()?.as_str() {
        "kvm" => Some(Accelerator::Kvm),
        "tcg" => Some(Accelerator::Tcg),
        _ => None,
    }
}

async fn trial(assets: &Assets, program: &QemuProgram) -> Accelerator {
    let boot = Guest::builder()
        .qemu(program.qemu)
        .accelerator(Accelerator::Kvm)
        .saved_state(false)
        .start_with(assets.clone());
    match tokio::time::timeout(TRIAL, Box::pin(boot)).await {
        Ok(Ok(_guest)) => Accelerator::Kvm,
        Ok(Err(_)) | Err(_) => Accelerator::Tcg,
    }
}

/// A new host kernel may bring or take a KVM that works.
fn host_kernel() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease")
        .unwrap_or_default()
        .trim()
        .replace('/', "_")
}
