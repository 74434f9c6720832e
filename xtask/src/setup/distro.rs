//! Which distribution this is, from `os-release`.

use std::fs;

use anyhow::{Context, Result, bail};

/// The families whose packages are known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// Debian.
    Debian,
    /// Ubuntu.
    Ubuntu,
}

/// The distribution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Distro {
    pub(crate) family: Family,
    /// Such as `bookworm`: the suites in the package sources are named after it.
    pub(crate) codename: String,
}

impl Distro {
    /// This machine's.
    pub(crate) fn detect() -> Result<Self> {
        let text = fs::read_to_string("/etc/os-release").context("cannot read /etc/os-release")?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> Result<Self> {
        let field = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
                .map(|value| value.trim_matches('"').to_owned())
        };
        let id = field("ID").unwrap_or_default();
        let like = field("ID_LIKE").unwrap_or_default();
        let family = if id == "ubuntu" || like.split(' ').any(|word| word == "ubuntu") {
            Family::Ubuntu
        } else if id == "debian" || like.split(' ').any(|word| word == "debian") {
            Family::Debian
        } else {
            bail!(
                "this is {id:?}: set-up knows the packages of Debian and Ubuntu only; \
                 on others, run it in a container or a virtual machine of one of them"
            );
        };
        let codename = field("UBUNTU_CODENAME")
            .or_else(|| field("VERSION_CODENAME"))
            .context("/etc/os-release has no VERSION_CODENAME")?;
        Ok(Self { family, codename })
    }

    /// The suite with newer packages, where there is one.
    pub(crate) fn backports(&self) -> String {
        format!("{}-backports", self.codename)
    }

    /// The package that depends on the newest small kernel for virtual machines.
    pub(crate) fn kernel_package(&self) -> &'static str {
        match self.family {
            Family::Debian => "linux-image-cloud-amd64",
            Family::Ubuntu => "linux-image-virtual",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debian_ubuntu_and_a_derivative_are_known() {
        let debian = Distro::parse("ID=debian\nVERSION_CODENAME=bookworm\n").unwrap();
        assert_eq!(debian.family, Family::Debian);
        assert_eq!(debian.backports(), "bookworm-backports");
        let mint = "ID=linuxmint\nID_LIKE=\"ubuntu debian\"\nVERSION_CODENAME=xia\nUBUNTU_CODENAME=noble\n";
        let mint = Distro::parse(mint).unwrap();
        assert_eq!(
            (mint.family, mint.codename.as_str()),
            (Family::Ubuntu, "noble")
        );
        assert!(Distro::parse("ID=fedora\n").is_err());
    }
}
