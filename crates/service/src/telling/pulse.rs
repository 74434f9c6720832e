//! The heartbeat: it beats as long as the scheduling loop says that it lives.
//!
//! Whoever watches it misses it when this machine, this process, its loop or the way out is dead.

use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tresor_notify::Sender;

const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_secs(5);

/// What the loop said last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Pulse {
    /// Of which VMs and other things something is wrong.
    pub(crate) at_risk: Vec<String>,
}

impl Pulse {
    fn text(&self) -> Option<String> {
        let count = self.at_risk.len();
        (count > 0).then(|| format!("at risk: {count}: {}", self.at_risk.join(", ")))
    }
}

/// Passes each pulse on, until it is told to stop.
pub(crate) async fn run(
    url: String,
    mut pulses: watch::Receiver<Option<Pulse>>,
    stop: CancellationToken,
) {
    let sender = match Sender::new() {
        Ok(sender) => sender,
        Err(error) => {
            tracing::error!(%error, "there will be no heartbeat");
            return;
        }
    };
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            changed = pulses.changed() => if changed.is_err() { return },
        }
        let pulse = pulses.borrow_and_update().clone();
        if let Some(pulse) = pulse {
            beat(&sender, &url, &pulse).await;
        }
    }
}

async fn beat(sender: &Sender, url: &str, pulse: &Pulse) {
    let text = pulse.text();
    for attempt in 1..=TRIES {
        match sender.heartbeat(url, text.as_deref()).await {
            Ok(()) => return,
            Err(error) if attempt == TRIES => tracing::warn!(%error, "the heartbeat was not heard"),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
