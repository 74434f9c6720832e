//! The QEMU programs that guests can run on.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tresor_testkit::{Qemu, QemuProgram};

use crate::{
    process::{capture, find, tool},
    term::say,
};

/// Where distributions keep firmware.
const FIRMWARE: &[&str] = &["/usr/share/qemu", "/usr/share/qboot"];

/// The host's, and the unpacked 7.2 where there is one (or where the host's is 7.2).
pub(crate) fn programs(old: Option<&Path>) -> Result<Vec<QemuProgram>> {
    let program = find("qemu-system-x86_64").context("qemu-system-x86_64 is not installed")?;
    let host = describe(Qemu::Host, program, Vec::new())?;
    let host_is_old = host.version.starts_with("7.2");
    let mut programs = vec![host.clone()];
    if let Some(root) = old {
        let firmware = ["usr/share/qemu", "usr/share/seabios"].map(|dir| root.join(dir));
        let program = root.join("usr/bin/qemu-system-x86_64");
        match describe(Qemu::V7_2, program, firmware.to_vec()) {
            Ok(program) => programs.push(program),
            Err(error) => say(&format!("QEMU 7.2 does not run here: {error:#}")),
        }
    } else if host_is_old {
        programs.push(QemuProgram {
            qemu: Qemu::V7_2,
            ..host
        });
    } else {
        say("QEMU 7.2 is not to be had here: the tests that ask for it will fail and say so");
    }
    Ok(programs)
}

fn describe(qemu: Qemu, program: PathBuf, firmware: Vec<PathBuf>) -> Result<QemuProgram> {
    let text = capture(tool(&program).arg("--version"))?;
    let version = text
        .split_whitespace()
        .skip_while(|word| *word != "version")
        .nth(1)
        .context("qemu-system-x86_64 --version says nothing of a version")?
        .to_owned();
    let quick_boot = firmware
        .iter()
        .map(PathBuf::as_path)
        .chain(FIRMWARE.iter().map(Path::new))
        .map(|dir| dir.join("qboot.rom"))
        .find(|image| image.is_file());
    Ok(QemuProgram {
        qemu,
        quick_boot,
        version,
        program,
        firmware,
    })
}
