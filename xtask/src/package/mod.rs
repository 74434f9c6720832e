//! `cargo xtask package`: what a user installs on a host: an archive to unpack, and a Debian package.

mod archive;
mod deb;
mod files;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    process::{capture_bytes, succeeds},
    term::say,
    workspace,
};

/// What to pack.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Where to put them
    #[arg(long, default_value = "target/package")]
    out: PathBuf,
    /// Pack this program instead of building a release
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// The package's version instead of the workspace's: to try an upgrade
    #[arg(long, default_value = env!("CARGO_PKG_VERSION"))]
    package_version: String,
}

/// Shells with a completion script, and what Debian calls it.
const SHELLS: [(&str, &str); 3] = [
    ("bash", "usr/share/bash-completion/completions/tresor"),
    ("zsh", "usr/share/zsh/vendor-completions/_tresor"),
    ("fish", "usr/share/fish/vendor_completions.d/tresor.fish"),
];

/// What goes into both.
struct Contents {
    root: PathBuf,
    program: PathBuf,
    version: String,
}

/// Builds a release, unless a program is given, and packs it.
pub(crate) fn run(options: &Options) -> Result<()> {
    let root = workspace::root()?;
    let program = match &options.program {
        Some(program) => std::path::absolute(program)?,
        None => release(&root)?,
    };
    fs::create_dir_all(&options.out)?;
    let contents = Contents {
        root,
        program,
        version: options.package_version.clone(),
    };
    let archive = archive::make(&contents, &options.out)?;
    say(&format!("packed {}", archive.display()));
    let deb = deb::make(&contents, &options.out)?;
    say(&format!("packed {}", deb.display()));
    Ok(())
}

fn release(root: &Path) -> Result<PathBuf> {
    say("building a release of tresor");
    let cargo = std::env::var_os("CARGO").unwrap_or("cargo".into());
    let mut build = Command::new(cargo);
    build.current_dir(root).args([
        "build",
        "--quiet",
        "--release",
        "--locked",
        "--package",
        "tresor",
    ]);
    if !succeeds(&mut build)? {
        bail!("tresor does not build");
    }
    Ok(root.join("target/release/tresor"))
}

impl Contents {
    /// The program's completion script for a shell.
    fn completions(&self, shell: &str) -> Result<Vec<u8>> {
        capture_bytes(Command::new(&self.program).args(["completions", shell]))
    }

    /// A file of the repository.
    fn copy(&self, from: &str, to: &Path) -> Result<()> {
        let from = self.root.join(from);
        fs::copy(&from, to).with_context(|| format!("cannot copy {}", from.display()))?;
        Ok(())
    }
}
