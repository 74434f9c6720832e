//! Progress of a long call, a few times a second.

use std::time::Duration;

const EVERY: Duration = Duration::from_millis(250);

/// Awaits `work`, and calls `report` while it runs and once when it is done.
pub(crate) async fn watched<T>(work: impl Future<Output = T>, report: impl Fn()) -> T {
    let mut tick = tokio::time::interval(EVERY);
    tokio::pin!(work);
    loop {
        tokio::select! {
            result = &mut work => {
                report();
                return result;
            }
            _ = tick.tick() => report(),
        }
    }
}
