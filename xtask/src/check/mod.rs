//! `cargo xtask check`: the rules of the house, as an ordinary program.
//!
//! Each rule gives a list of complaints, each with what to do. All are shown before it fails.

mod bad_input;
mod format;
mod golden;
mod layers;
mod length;
mod problems;
mod raised;

use anyhow::{Result, bail};

use crate::{term::say, workspace};

/// Checks every rule; with `write`, brings generated files up to date first.
pub(crate) fn run(write: bool) -> Result<()> {
    let root = workspace::root()?;
    if write {
        problems::write(&root)?;
        golden::write(&root)?;
        format::write(&root)?;
    }
    let rules: [(&str, Vec<String>); 7] = [
        ("layers", layers::complaints(&root)?),
        ("length", length::complaints(&root)?),
        ("problems", problems::complaints(&root)?),
        ("raised", raised::complaints(&root)?),
        ("format", format::complaints(&root)?),
        ("golden", golden::complaints(&root)?),
        ("bad-input", bad_input::complaints(&root)?),
    ];
    let mut count = 0;
    for (rule, complaints) in rules {
        for complaint in complaints {
            say(&format!("check: {rule}: {complaint}"));
            count += 1;
        }
    }
    if count > 0 {
        bail!("{count} rules of the house are broken");
    }
    say("check: every rule holds");
    Ok(())
}
