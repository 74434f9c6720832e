//! `apt-get` with a configuration of its own: private package lists and cache beneath
//! `target/guest/apt`, so that the machine's sources and lists stay as they are, and downloads
//! need no root. What is installed is still the machine's own state.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use super::{distro::Distro, sources};
use crate::process::{capture, find, tool};

/// The private configuration; package lists are fetched once per value.
pub(crate) struct Apt {
    dir: PathBuf,
    config: PathBuf,
}

impl Apt {
    /// Writes the configuration and fetches the package lists.
    pub(crate) fn open(dir: &Path, distro: &Distro) -> Result<Self> {
        if find("apt-get").is_none() {
            bail!("apt-get is missing: set-up needs Debian or Ubuntu");
        }
        for sub in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(dir.join(sub))?;
        }
        sources::write(&dir.join("sources"), distro)?;
        let config = dir.join("apt.conf");
        let shown = dir.display();
        fs::write(
            &config,
            format!(
                "Dir::Etc::sourcelist \"/dev/null\";\n\
                 Dir::Etc::sourceparts \"{shown}/sources\";\n\
                 Dir::State::lists \"{shown}/lists\";\n\
                 Dir::Cache \"{shown}/cache\";\n\
                 APT::Sandbox::User \"root\";\n\
                 Acquire::Retries \"3\";\n"
            ),
        )?;
        let apt = Self {
            dir: dir.to_path_buf(),
            config,
        };
        crate::term::say("fetching package lists");
        capture(apt.command("apt-get").args(["-q", "update"]))
            .context("cannot fetch package lists")?;
        Ok(apt)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = tool(program);
        command.env("APT_CONFIG", &self.config);
        command
    }

    /// The version that `package` has in `suite` (or by default), if any.
    pub(crate) fn candidate(&self, package: &str, suite: Option<&str>) -> Result<Option<String>> {
        let mut command = self.command("apt-cache");
        if let Some(suite) = suite {
            command.args(["-t", suite]);
        }
        let text = capture(command.args(["policy", package]))?;
        Ok(parse_candidate(&text))
    }

    /// All versions that can be had, newest first.
    pub(crate) fn versions(&self, package: &str) -> Result<Vec<String>> {
        let text = capture(self.command("apt-cache").args(["madison", package]))?;
        Ok(text
            .lines()
            .filter_map(|line| Some(line.split('|').nth(1)?.trim().to_owned()))
            .collect())
    }

    /// What a package depends on, directly or all the way down; names of real packages only.
    pub(crate) fn depends(&self, package: &str, recurse: bool) -> Result<Vec<String>> {
        let mut command = self.command("apt-cache");
        command.args([
            "depends",
            "--no-recommends",
            "--no-suggests",
            "--no-conflicts",
            "--no-breaks",
            "--no-replaces",
            "--no-enhances",
        ]);
        if recurse {
            command.arg("--recurse");
        }
        let text = capture(command.arg(package))?;
        Ok(parse_depends(&text))
    }

    /// What installing would do, refusing to remove anything.
    ///
    /// Plain `install qemu-system-x86` on a machine with a newer `qemu-utils` would remove that:
    /// whatever the reason, set-up never takes a package away.
    fn simulate(&self, packages: &[&str], suite: Option<&str>) -> Result<()> {
        let text = capture(self.install_command(false, packages, suite).arg("-s"))?;
        let removed: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("Remv ")?.split(' ').next())
            .collect();
        if !removed.is_empty() {
            bail!(
                "installing {} would remove {}: please settle that by hand",
                packages.join(" "),
                removed.join(" ")
            );
        }
        Ok(())
    }

    /// Installs packages; removes none.
    pub(crate) fn install(&self, packages: &[&str], suite: Option<&str>) -> Result<()> {
        self.simulate(packages, suite)?;
        let mut command = self.install_command(true, packages, suite);
        command.env("DEBIAN_FRONTEND", "noninteractive");
        capture(&mut command).with_context(|| format!("cannot install {}", packages.join(" ")))?;
        Ok(())
    }

    fn install_command(&self, real: bool, packages: &[&str], suite: Option<&str>) -> Command {
        let mut command = if real && !is_root() {
            let mut command = tool("sudo");
            command.arg("-n").arg("env");
            command.arg(format!("APT_CONFIG={}", self.config.display()));
            command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get"]);
            command
        } else {
            self.command("apt-get")
        };
        command.args(["-q", "install", "-y", "--no-install-recommends"]);
        if let Some(suite) = suite {
            command.args(["-t", suite]);
        }
        command.args(packages);
        command
    }

    /// Downloads packages (`name` or `name=version`) and unpacks them into `root`; installs none.
    pub(crate) fn unpack(&self, packages: &[String], root: &Path) -> Result<()> {
        let debs = self.dir.join("debs");
        if debs.exists() {
            fs::remove_dir_all(&debs)?;
        }
        fs::create_dir_all(&debs)?;
        capture(
            self.command("apt-get")
                .args(["-q", "download"])
                .args(packages)
                .current_dir(&debs),
        )
        .context("cannot download packages")?;
        fs::create_dir_all(root)?;
        for deb in fs::read_dir(&debs)? {
            capture(tool("dpkg-deb").arg("-x").arg(deb?.path()).arg(root))
                .context("cannot unpack a package")?;
        }
        fs::remove_dir_all(&debs)?;
        Ok(())
    }
}

/// Whether packages can be installed without `sudo`.
pub(crate) fn is_root() -> bool {
    capture(tool("id").arg("-u")).is_ok_and(|uid| uid.trim() == "0")
}

fn parse_candidate(text: &str) -> Option<String> {
    text.lines()
        .find_map(|line| line.trim().strip_prefix("Candidate: "))
        .filter(|version| *version != "(none)")
        .map(str::to_owned)
}

fn parse_depends(text: &str) -> Vec<String> {
    let mut names: Vec<String> = text
        .lines()
        .filter_map(|line| {
            let name = line
                .trim()
                .trim_start_matches('|')
                .trim_start_matches("PreDepends: ")
                .trim_start_matches("Depends: ");
            (!name.starts_with('<')).then(|| name.to_owned())
        })
        .collect();
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_candidate_is_none() {
        assert_eq!(
            parse_candidate("x:\n  Installed: (none)\n  Candidate: (none)\n"),
            None
        );
        assert_eq!(
            parse_candidate("x:\n  Candidate: 1:7.2+dfsg\n").as_deref(),
            Some("1:7.2+dfsg")
        );
    }

    #[test]
    fn virtual_packages_and_marks_are_left_out() {
        let text = "qemu-guest-agent\n  Depends: libc6\n |Depends: <lsb-base>\n    libb\n  PreDepends: init\nlibc6\n";
        assert_eq!(
            parse_depends(text),
            ["init", "libb", "libc6", "qemu-guest-agent"]
        );
    }
}
