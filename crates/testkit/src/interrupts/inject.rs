//! Carries a fault out, and takes it back.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use rustix::process::Signal;

use super::{Fault, Lab, host, writers};
use crate::program::Running;

/// What an injection came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Injected {
    /// It is there.
    Yes,
    /// There was nothing to harm: no connection was open.
    Nothing,
    /// Not while the program is held: it has a file open for writing.
    NotYet,
}

impl Lab {
    /// Does harm while the program is held.
    pub(super) async fn inject(&mut self, fault: Fault, backup: &mut Running) -> Result<Injected> {
        let pid = backup.pid().context("the backup has ended")?;
        let cut = |wanted: &dyn Fn(&str) -> bool| match host::cut(pid, wanted)? {
            0 => Ok(Injected::Nothing),
            _ => Ok(Injected::Yes),
        };
        match fault {
            Fault::Interrupt => stop(backup, Signal::INT).await?,
            Fault::Terminate => stop(backup, Signal::TERM).await?,
            Fault::Kill => backup.kill().await?,
            Fault::KillQemu => self.guest.kill().await?,
            Fault::PowerOff => self.guest.power_off_at_once().await?,
            Fault::QmpGone => std::fs::rename(self.guest.qmp_socket(), self.hidden_qmp())?,
            Fault::QmpCut => {
                let qmp = self.guest.qmp_socket().display().to_string();
                return cut(&|path| path == qmp);
            }
            Fault::NbdCut => {
                let vm = self.guest.uuid().to_string();
                return cut(&|path| path.contains("-nbd.") && path.contains(&vm));
            }
            Fault::VaultFull => self.store.fill().await?,
            Fault::VaultReadOnly => {
                let soon = Duration::from_millis(500);
                if !self.store.make_read_only(soon).await? {
                    return Ok(Injected::NotYet);
                }
            }
            Fault::VaultGone => self.store.hide()?,
            Fault::ClockForward | Fault::ClockBack => {
                self.set_clock(fault.clock().context("a fault of the clock")?)?;
            }
        }
        Ok(Injected::Yes)
    }

    /// Does the harm that could not be done while the program was held.
    pub(super) async fn inject_late(&mut self) -> Result<Injected> {
        let later = Duration::from_secs(5);
        match self.store.make_read_only(later).await? {
            true => Ok(Injected::Yes),
            false => Ok(Injected::Nothing),
        }
    }

    /// Makes everything work again; a guest that ended is booted.
    pub(super) async fn lift(&mut self, fault: Fault) -> Result<()> {
        match fault {
            Fault::QmpGone => std::fs::rename(self.hidden_qmp(), self.guest.qmp_socket())?,
            Fault::VaultFull | Fault::VaultReadOnly | Fault::VaultGone => self.store.mend().await?,
            _ if fault.ends_qemu() => {
                self.guest.restart().await?;
                writers::start(&self.guest).await?;
            }
            _ => {}
        }
        Ok(())
    }

    fn hidden_qmp(&self) -> PathBuf {
        self.guest.dir().join("qmp.away")
    }
}

/// Asks the program to end, and waits until it has heard.
pub(super) async fn stop(backup: &mut Running, signal: Signal) -> Result<()> {
    let pid = backup.pid().context("the backup has ended")?;
    host::signal(pid, signal)?;
    let heard = backup
        .until(|line| line.starts_with("interrupted: unwinding"))
        .await?;
    heard
        .map(drop)
        .context("the backup did not hear the signal")
}
