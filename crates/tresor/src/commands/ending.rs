//! How a program that runs on ends when it is told to.

use std::time::Duration;

use tresor_host::Stop;

use super::session::Session;
use crate::output::note;

/// Waits until somebody wants the program to end. Then nothing new is begun, and what runs is taken back after
/// `grace`. Never returns.
pub(super) async fn when_told(session: &Session, grace: Duration, stop: &Stop) {
    session.cancelled().await;
    note("no new jobs are begun; those that run may end");
    stop.drain.cancel();
    tokio::time::sleep(grace).await;
    stop.cancel.cancel();
    std::future::pending::<()>().await;
}
