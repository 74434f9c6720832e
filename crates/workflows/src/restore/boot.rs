//! The command line that boots a restored machine. Pure.
//!
//! The recovery point holds the command line of the QEMU process that ran the machine. What
//! belonged to the old host is replaced: image and attachment paths by the restored files, sockets
//! and log files by ones in the new directory; what made sense only then (an incoming state, a
//! pid file, starting stopped) is left out. Everything that the guest can see stays as it was.

use std::path::{Path, PathBuf};

use super::TpmEmulator;

/// A file of the old host and what stands in for it.
#[derive(Debug, Clone)]
pub struct Replacement {
    /// Path on the original host.
    pub original: String,
    /// The restored file.
    pub restored: PathBuf,
}

/// Options that are left out; `true`: together with their value.
const DROPPED: &[(&str, bool)] = &[
    ("-S", false),
    ("-daemonize", false),
    ("-incoming", true),
    ("-loadvm", true),
    ("-pidfile", true),
    ("-runas", true),
    ("-run-with", true),
    ("-chroot", true),
];

/// Options whose value may name a socket or log file of the old host.
const HOST_FILES: &[&str] = &[
    "-qmp", "-monitor", "-mon", "-chardev", "-serial", "-D", "-vnc", "-spice",
];

/// Gives the arguments, program first. `runtime_dir` is where sockets and logs go.
#[must_use]
pub fn plan_boot(
    command_line: &[String],
    replacements: &[Replacement],
    runtime_dir: &Path,
) -> Vec<String> {
    let mut planned = Vec::with_capacity(command_line.len());
    let mut words = command_line.iter();
    planned.extend(words.next().cloned());
    while let Some(word) = words.next() {
        // QEMU takes `--option` as `-option`.
        let option = if word.starts_with("--") {
            &word[1..]
        } else {
            word.as_str()
        };
        if let Some((_, with_value)) = DROPPED.iter().find(|(name, _)| *name == option) {
            if *with_value {
                words.next();
            }
            continue;
        }
        planned.push(word.clone());
        if HOST_FILES.contains(&option)
            && let Some(value) = words.next()
        {
            planned.push(move_host_file(value, runtime_dir));
        }
    }
    for word in planned.iter_mut().skip(1) {
        for replacement in replacements {
            *word = replace_path(word, &replacement.original, &replacement.restored);
        }
    }
    planned
}

/// Moves the file in a socket or log option to `runtime_dir`, keeping its last component.
fn move_host_file(value: &str, runtime_dir: &Path) -> String {
    let parts = value.split(',').enumerate().map(|(at, part)| {
        let (prefix, path) = match part.split_once(['=', ':']) {
            Some(("path" | "logfile", path)) => (&part[..part.len() - path.len()], path),
            Some(("unix" | "file" | "pipe", path)) if at == 0 => {
                (&part[..part.len() - path.len()], path)
            }
            _ => return part.to_owned(),
        };
        match Path::new(path).file_name() {
            Some(name) => format!("{prefix}{}", escape(&runtime_dir.join(name))),
            None => part.to_owned(),
        }
    });
    parts.collect::<Vec<_>>().join(",")
}

/// Replaces a path where it stands whole: not where it is the beginning of a longer one.
fn replace_path(word: &str, original: &str, restored: &Path) -> String {
    if original.is_empty() {
        return word.to_owned();
    }
    let ends_path = |rest: &str| rest.is_empty() || rest.starts_with([',', '"', '\'', ' ']);
    let begins_path =
        |before: &str| before.is_empty() || before.ends_with(['=', ':', '"', '\'', ' ', ',']);
    let mut result = String::with_capacity(word.len());
    let mut rest = word;
    while let Some(at) = rest.find(original) {
        let (before, from) = rest.split_at(at);
        let after = &from[original.len()..];
        result.push_str(before);
        if begins_path(&result) && ends_path(after) {
            result.push_str(&escape(restored));
        } else {
            result.push_str(original);
        }
        rest = after;
    }
    result.push_str(rest);
    result
}

/// QEMU's option parser takes a doubled comma for a comma.
fn escape(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}

/// A POSIX shell script that runs the command line, one argument a line, after the TPM emulator
/// that it needs. The emulator ends with the machine.
#[must_use]
pub fn boot_script(command_line: &[String], tpm: Option<&TpmEmulator>) -> String {
    let quoted: Vec<_> = command_line.iter().map(|word| quote(word)).collect();
    format!(
        "#!/bin/sh\n# Boots the restored machine as it was. Further arguments are added at the end.\n\
         mkdir -p \"$(dirname \"$0\")/run\"\n{}exec {} \"$@\"\n",
        tpm.map(start_tpm).unwrap_or_default(),
        quoted.join(" \\\n  ")
    )
}

fn start_tpm(tpm: &TpmEmulator) -> String {
    let state = quote(&format!("dir={}", tpm.state_dir.display()));
    let control = quote(&format!("type=unixio,path={}", tpm.socket.display()));
    let version = if tpm.version_2 { " --tpm2" } else { "" };
    format!(
        "command -v swtpm >/dev/null || \
         {{ echo 'this machine has a TPM: install swtpm' >&2; exit 1; }}\n\
         swtpm socket{version} --tpmstate {state} --ctrl {control} --daemon --terminate || exit 1\n"
    )
}

/// One word for a POSIX shell.
fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn plan(text: &str) -> String {
        let replacements = [
            Replacement {
                original: "/vm/a.qcow2".into(),
                restored: "/r/vda.qcow2".into(),
            },
            Replacement {
                original: "/boot/vmlinux".into(),
                restored: "/r/kernel".into(),
            },
        ];
        plan_boot(&words(text), &replacements, Path::new("/r/run")).join(" ")
    }

    #[test]
    fn disks_and_kernel_are_the_restored_ones() {
        assert_eq!(
            plan(
                "qemu -kernel /boot/vmlinux -blockdev driver=file,filename=/vm/a.qcow2,node-name=f"
            ),
            "qemu -kernel /r/kernel -blockdev driver=file,filename=/r/vda.qcow2,node-name=f"
        );
        assert_eq!(
            plan(r#"qemu -blockdev {"driver":"file","filename":"/vm/a.qcow2"}"#),
            r#"qemu -blockdev {"driver":"file","filename":"/r/vda.qcow2"}"#
        );
    }

    #[test]
    fn a_path_that_only_begins_alike_stays() {
        let line = "qemu -drive file=/vm/a.qcow2.old,if=none -drive file=/x/vm/a.qcow2";
        assert_eq!(plan(line), line);
    }

    #[test]
    fn sockets_and_logs_move() {
        assert_eq!(
            plan(
                "qemu -qmp unix:/run/q.sock,server=on -chardev socket,path=/run/ga,server=on,id=ga -serial file:/var/log/s.log"
            ),
            "qemu -qmp unix:/r/run/q.sock,server=on -chardev socket,path=/r/run/ga,server=on,id=ga -serial file:/r/run/s.log"
        );
    }

    #[test]
    fn what_made_sense_only_then_is_left_out() {
        assert_eq!(
            plan("qemu -S -incoming file:/s --daemonize -m 128"),
            "qemu -m 128"
        );
    }

    #[test]
    fn the_script_quotes_what_a_shell_would_change() {
        let script = boot_script(&["qemu".into(), "-append".into(), "a='b' $c".into()], None);
        assert!(script.contains(r"'a='\''b'\'' $c'"), "{script}");
    }
}
