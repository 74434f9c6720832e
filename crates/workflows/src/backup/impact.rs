//! What the backup does to the guest: its writes before and during the transfer.

use std::time::Duration;

use serde_json::json;
use tresor_disk::{GuestWrites, SnapshotProvider};
use tresor_model::Fact;
use tresor_transfer::pace::{Governor, Held, mean_between};

/// The fact about the guest's writes: `before_us` and `worst_us` (means, null where there were none),
/// `held_back_ms`, for how long reading was, and `slowest_pace`, down to how many bytes per second for
/// the guest's sake (null when that was not needed).
pub const GUEST_WRITES: &str = "guest.write-latency";

/// The guest's writes before anything of ours is in their way.
pub(super) struct Baseline(Option<GuestWrites>);

impl Baseline {
    /// Begins to watch.
    pub(super) async fn begin(provider: &dyn SnapshotProvider) -> Self {
        Self(provider.guest_writes().await)
    }

    /// What a write took since the beginning; of a guest that wrote nothing meanwhile, what one took
    /// since the VM was started.
    pub(super) async fn end(self, provider: &dyn SnapshotProvider) -> Option<Duration> {
        let now = provider.guest_writes().await?;
        let since = |before| mean_between(before, now);
        self.0
            .and_then(since)
            .or_else(|| since(GuestWrites::default()))
    }
}

/// What is kept of it with the recovery point.
pub(super) fn fact(governor: &Governor, usual: Option<Duration>, held: Held) -> Fact {
    let micros = |time: Option<Duration>| time.map(|time| time.as_micros());
    let value = json!({
        "before_us": micros(usual),
        "worst_us": micros(governor.worst),
        "held_back_ms": held.time.as_millis(),
        "slowest_pace": governor.slowest,
    });
    Fact::present(GUEST_WRITES, value, "tresor", jiff::Timestamp::now())
}
