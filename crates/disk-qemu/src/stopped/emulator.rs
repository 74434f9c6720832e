//! Whether a process is a QEMU that runs a VM: by the name of its program.

use std::{
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
};

/// Longest command line that is looked at.
const MAX_COMMAND_LINE: u64 = 1 << 20;
/// Names of QEMU's system emulators: by target, and those of distributions.
const PREFIX: &str = "qemu-system-";
const NAMES: [&str; 2] = ["qemu-kvm", "kvm"];

/// Whether this process runs a VM. Process 0 is one that cannot be seen from here: it may.
pub(super) fn is_one(pid: u32) -> bool {
    if pid == 0 {
        return true;
    }
    let program = fs::read_link(format!("/proc/{pid}/exe")).ok();
    let program = program.or_else(|| command_line(pid)?.into_iter().next().map(PathBuf::from));
    program.is_some_and(|program| is_name(&program))
}

/// Whether some process runs a VM on one of these images.
pub(super) fn runs_on(images: &[PathBuf]) -> bool {
    let Ok(processes) = fs::read_dir("/proc") else {
        return false;
    };
    let pids = processes.flatten().filter_map(|process| {
        let name = process.file_name();
        name.to_str()?.parse::<u32>().ok()
    });
    let uses = |pid: &u32| {
        let line = command_line(*pid).unwrap_or_default();
        let named = |image: &PathBuf| {
            let path = image.to_string_lossy();
            line.iter().any(|argument| argument.contains(path.as_ref()))
        };
        images.iter().any(named)
    };
    pids.filter(|pid| is_one(*pid)).any(|pid| uses(&pid))
}

fn command_line(pid: u32) -> Option<Vec<String>> {
    let mut bytes = Vec::new();
    let file = File::open(format!("/proc/{pid}/cmdline")).ok()?;
    file.take(MAX_COMMAND_LINE).read_to_end(&mut bytes).ok()?;
    let words = bytes.split(|&byte| byte == 0);
    let words = words.map(|word| String::from_utf8_lossy(word).into_owned());
    Some(words.collect())
}

fn is_name(program: &Path) -> bool {
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    // A program that was replaced by an update while it runs.
    let name = name.strip_suffix(" (deleted)").unwrap_or(&name);
    name.starts_with(PREFIX) || NAMES.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emulators_are_known_by_name() {
        for (program, expected) in [
            ("/usr/bin/qemu-system-x86_64", true),
            ("/usr/bin/qemu-system-aarch64 (deleted)", true),
            ("/usr/libexec/qemu-kvm", true),
            ("/usr/bin/kvm", true),
            ("/usr/bin/qemu-storage-daemon", false),
            ("/usr/bin/qemu-img", false),
            ("/usr/bin/kvmtool", false),
            ("/", false),
        ] {
            assert_eq!(is_name(Path::new(program)), expected, "{program}");
        }
    }

    #[test]
    fn this_test_is_no_emulator_and_a_dead_process_neither() {
        assert!(!is_one(std::process::id()));
        assert!(!is_one(u32::MAX));
        assert!(is_one(0));
    }
}
