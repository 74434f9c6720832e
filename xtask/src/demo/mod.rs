//! `cargo xtask demo`: a real virtual machine is protected, destroyed, and brought back.
//!
//! The story is in [`story`]; this module prepares it and tells the truth by the exit code.

mod checks;
mod program;
mod story;
mod table;

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use crate::{process::succeeds, term::say, workspace};

/// How to run it.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Install nothing: print what is missing, and fail if anything is
    #[arg(long)]
    no_install: bool,
    /// Leave everything there, and print how to look around
    #[arg(long)]
    keep: bool,
}

/// Prepares, tells the story, and sums it up.
pub(crate) async fn run(options: &Options) -> Result<()> {
    crate::setup::run(!options.no_install).await?;
    let program = build()?;
    // Sockets live in it, and their paths must be short.
    let dir = tempfile::Builder::new()
        .prefix("tresor-demo-")
        .tempdir_in("/tmp")?;
    let told = story::tell(&program, dir.path()).await;
    if options.keep {
        let path = dir.keep();
        say(&format!(
            "everything is left in {}; look around:",
            path.display()
        ));
        let program = program.display();
        let (vault, key) = (path.join("vault"), path.join("recovery-key.txt"));
        let access = format!("--vault {} --key-file {}", vault.display(), key.display());
        say(&format!("  {program} points list {access}"));
        say(&format!("  {program} points show latest:demo {access}"));
        say(&format!(
            "  {}  # boots the restored VM again",
            path.join("restored/boot.sh").display()
        ));
    }
    let checks = told?;
    match checks.failed() {
        0 => {
            say(&format!(
                "the demo is done: {} checks, all passed",
                checks.count()
            ));
            Ok(())
        }
        failed => bail!("{failed} of {} checks failed", checks.count()),
    }
}

/// Builds the program and gives its path.
fn build() -> Result<PathBuf> {
    say("building tresor");
    let mut cargo = std::process::Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo
        .current_dir(workspace::root()?)
        .args(["build", "--quiet", "--package", "tresor"]);
    if !succeeds(&mut cargo)? {
        bail!("tresor does not build");
    }
    let here = std::env::current_exe().context("this program's own file is not known")?;
    let dir = here.parent().context("this program lies in no directory")?;
    Ok(dir.join("tresor"))
}
