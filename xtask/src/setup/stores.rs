//! Servers for tests, installed beneath `target/guest/stores`: moto by pip, Azurite and oidc-provider by npm.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result};

use crate::{
    process::{capture, tool},
    term::say,
};

/// moto, a server that speaks S3.
const MOTO: &str = "moto[server]==5.2.5";
/// Azurite, Microsoft's own emulator of Azure Blob Storage.
const AZURITE: &str = "azurite@3.35.0";
/// oidc-provider, a certified `OpenID` Connect provider.
const OIDC: &str = "oidc-provider@8.8.1";

/// Installs what is not there yet; `python` has pip.
pub(crate) fn install(dir: &Path, python: &Path) -> Result<()> {
    let stores = dir.join("stores");
    fs::create_dir_all(&stores)?;
    once(&stores, "moto", MOTO, |target| {
        let mut pip = Command::new(python);
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--target",
        ]);
        capture(pip.arg(target).arg(MOTO)).map(drop)
    })?;
    for (name, package) in [("azurite", AZURITE), ("oidc-provider", OIDC)] {
        once(&stores, name, package, |target| {
            let mut npm = tool("npm");
            npm.args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"]);
            capture(npm.arg(target).arg(package)).map(drop)
        })?;
    }
    Ok(())
}

/// What is not installed: what `--no-install` asks.
pub(crate) fn absent(dir: &Path) -> Vec<&'static str> {
    let stores = dir.join("stores");
    [
        ("moto", MOTO),
        ("azurite", AZURITE),
        ("oidc-provider", OIDC),
    ]
    .into_iter()
    .filter(|(name, wanted)| !stamp_fits(&stores, name, wanted))
    .map(|(name, _)| name)
    .collect()
}

fn stamp_fits(stores: &Path, name: &str, wanted: &str) -> bool {
    fs::read_to_string(stores.join(format!("{name}.stamp"))).is_ok_and(|text| text == wanted)
}

/// The stamp is written last: what was cut short is done again.
fn once(
    stores: &Path,
    name: &str,
    wanted: &str,
    install: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    if stamp_fits(stores, name, wanted) {
        return Ok(());
    }
    say(&format!("installing {wanted}"));
    let target = stores.join(name);
    if target.exists() {
        fs::remove_dir_all(&target)?;
    }
    fs::create_dir_all(&target)?;
    install(&target).with_context(|| format!("cannot install {wanted}"))?;
    fs::write(stores.join(format!("{name}.stamp")), wanted)?;
    Ok(())
}
