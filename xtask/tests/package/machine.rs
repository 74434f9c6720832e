//! A machine to install on: this one's root file system below a layer of its own, in namespaces of its own, with systemd
//! as its first process. Nothing that happens there changes this machine.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use rustix::process::Signal;

/// No command takes this long on a machine that works.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// In a control group of its own, so that the new systemd has no business with others' processes: its name, the script
/// that goes on, directories.
const ENTER: &str = r#"
set -e
mount --make-rprivate /
mount -t cgroup2 none /mnt
mkdir -p "/mnt/$1"
echo $$ > "/mnt/$1/cgroup.procs"
umount /mnt
boot=$2
shift 2
exec unshare --pid --fork --kill-child --mount --cgroup --uts --ipc --net sh -c "$boot" sh "$@"
"#;

/// Directories are seen at the same path there.
const BOOT: &str = r#"
set -e
ip link set lo up
mount -t tmpfs layer /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay root -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work /mnt/root
cd /mnt/root
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount --rbind /dev dev
mount -t tmpfs run run
mkdir run/lock
for dir in "$@"; do
    mkdir -p ".$dir"
    mount --bind "$dir" ".$dir"
done
mount -t cgroup2 cgroup sys/fs/cgroup
printf '[Unit]\nDescription=A machine of a test\n' > etc/systemd/system/tresor-test.target
export container=tresor-test
exec chroot . /lib/systemd/systemd --system --unit=tresor-test.target --log-target=console
"#;

/// A machine that runs.
pub(crate) struct Machine {
    /// Outside of it.
    unshare: Child,
    /// Its first process, by this machine's numbers.
    first: u32,
    group: String,
    log: PathBuf,
}

impl Machine {
    /// Boots one that has these directories at the same path.
    pub(crate) fn boot(log: &Path, shared: &[&Path]) -> Self {
        let group = format!("tresor-test-{}", std::process::id());
        let log = log.to_owned();
        let file = fs::File::create(&log).unwrap();
        let unshare = Command::new("unshare")
            .args(["--mount", "sh", "-c", ENTER, "sh", &group])
            .arg(BOOT)
            .args(shared)
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        let mut machine = Self {
            unshare,
            first: 0,
            group,
            log,
        };
        machine.first = wait("the first process", || machine.find_first());
        wait("systemd", || {
            let state = machine.run("systemctl is-system-running");
            let state = String::from_utf8_lossy(&state.stdout).into_owned();
            ["running", "degraded"]
                .contains(&state.trim())
                .then_some(())
        });
        machine
    }

    /// The child of `unshare`, once it is systemd.
    fn find_first(&self) -> Option<u32> {
        let outer = self.unshare.id();
        let children = fs::read_to_string(format!("/proc/{outer}/task/{outer}/children")).ok()?;
        let first: u32 = children.split_whitespace().next()?.parse().ok()?;
        let name = fs::read_to_string(format!("/proc/{first}/comm")).ok()?;
        assert!(self.lives(), "{}", self.log());
        (name.trim() == "systemd").then_some(first)
    }

    fn lives(&self) -> bool {
        Path::new(&format!("/proc/{}", self.unshare.id())).exists()
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Runs a shell command there.
    pub(crate) fn run(&self, script: &str) -> Output {
        let pid = self.first.to_string();
        Command::new("nsenter")
            .args(["--target", &pid, "--mount", "--pid", "--uts", "--ipc"])
            .args(["--net", "--cgroup", "--root", "--wd=/"])
            .args(["env", "-u", "TRESOR_CONFIG", "-u", "TRESOR_STATE_DIR"])
            .args(["timeout", "240", "sh", "-ec", &format!("cd /; {script}")])
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// What a command prints that must succeed.
    pub(crate) fn ok(&self, script: &str) -> String {
        let output = self.run(script);
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "`{script}` ends with {}: {stdout}{stderr}\n{}",
            output.status,
            self.run("journalctl --no-pager -n 60 -u tresor -u tresor-host")
                .stdout
                .escape_ascii()
                .to_string()
                .replace("\\n", "\n"),
        );
        stdout.trim().to_owned()
    }

    /// A property of a unit.
    pub(crate) fn property(&self, unit: &str, name: &str) -> String {
        self.ok(&format!("systemctl show --value -p {name} {unit}"))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let first = i32::try_from(self.first).ok();
        match first.and_then(rustix::process::Pid::from_raw) {
            // With the first process all others of its namespace end, and then `unshare`.
            Some(first) => rustix::process::kill_process(first, Signal::KILL).ok(),
            None => self.unshare.kill().ok(),
        };
        self.unshare.wait().ok();
        let tidy = "mount -t cgroup2 none /mnt && find \"/mnt/$1\" -depth -type d -exec rmdir {} +";
        Command::new("unshare")
            .args(["--mount", "sh", "-c", tidy, "sh", &self.group])
            .status()
            .ok();
    }
}

/// Asks until there is an answer.
#[expect(
    clippy::disallowed_methods,
    reason = "the test runs blocking commands; the guest's tasks have other workers"
)]
pub(crate) fn wait<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < until, "waited for {what} in vain");
        std::thread::sleep(Duration::from_millis(300));
    }
}
