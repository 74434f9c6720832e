//! What Ctrl-C and SIGTERM ask for.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::output;

/// Signals, as commands hear of them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Signals {
    end: CancellationToken,
    hurry: CancellationToken,
    patient: Arc<AtomicBool>,
}

impl Signals {
    /// Cancelled by the first signal: a clean end is wanted.
    pub(crate) fn end(&self) -> &CancellationToken {
        &self.end
    }

    /// The caller lets work go on after the first signal; the second one is heard here then: what runs is to be
    /// taken back at once.
    pub(crate) fn be_patient(&self) -> CancellationToken {
        self.patient.store(true, Relaxed);
        self.hurry.clone()
    }

    /// Hears signals until the program ends. One that comes when all was said ends the process at once, which is
    /// safe too: the next run unwinds what is left.
    pub(crate) async fn hear(self) {
        let (Ok(mut interrupt), Ok(mut terminate)) = (
            signal(SignalKind::interrupt()),
            signal(SignalKind::terminate()),
        ) else {
            return;
        };
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            let patient = self.patient.load(Relaxed);
            if !self.end.is_cancelled() {
                if !patient {
                    output::note("interrupted: unwinding (once more to stop at once)");
                }
                self.end.cancel();
            } else if patient && !self.hurry.is_cancelled() {
                output::note("taking back what runs (once more to stop at once)");
                self.hurry.cancel();
            } else {
                std::process::abort();
            }
        }
    }
}
