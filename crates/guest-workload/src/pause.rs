//! How a writer stands still while an application-consistent snapshot is taken.
//!
//! The freeze hook's script leaves `/run/tresor/park`; every writer that registered itself
//! (`parkable-PID`) finishes its round, says so (`parked-PID`) and waits until `park` is gone.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    process,
    time::Duration,
};

use crate::{
    report::{During, Failure},
    status::{self, RUN},
};

const POLL: Duration = Duration::from_millis(2);

/// A writer's registration; ends with the value.
pub(crate) struct Parkable {
    request: PathBuf,
    registered: PathBuf,
    parked: PathBuf,
}

impl Parkable {
    pub(crate) fn register() -> Result<Self, Failure> {
        let run = Path::new(RUN);
        let pid = process::id();
        let this = Self {
            request: run.join("park"),
            registered: run.join(format!("parkable-{pid}")),
            parked: run.join(format!("parked-{pid}")),
        };
        status::put(&this.registered, "").during("register in", &this.registered)?;
        Ok(this)
    }

    /// To be called where everything written so far is consistent.
    pub(crate) fn park_if_asked(&self) -> Result<(), Failure> {
        if !self.request.exists() {
            return Ok(());
        }
        while self.request.exists() {
            // The hook takes the sign away when it thaws, so that the next freeze asks anew.
            if !self.parked.exists() {
                status::put(&self.parked, "").during("park in", &self.parked)?;
            }
            status::rest(POLL);
        }
        match fs::remove_file(&self.parked) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).during("leave", &self.parked)
            }
            _ => Ok(()),
        }
    }
}

impl Drop for Parkable {
    fn drop(&mut self) {
        // Gone already is as good.
        drop(fs::remove_file(&self.registered));
    }
}
