//! How a program that runs on ends when it is told to.

use std::time::Duration;

use tokio::time::Instant;
use tresor_host::Stop;

use super::session::Session;
use crate::{
    output::note,
    systemd::{AT_THE_END_EVERY, Systemd},
};

/// Taking back takes no longer than this; then systemd is not asked for more time.
const TAKING_BACK: Duration = Duration::from_secs(900);

/// Waits until somebody wants the program to end. Then nothing new is begun, and what runs is taken back after
/// `grace`, or when somebody asks once more. Never returns.
pub(super) async fn when_told(session: &Session, grace: Duration, stop: &Stop, systemd: &Systemd) {
    let hurry = session.be_patient();
    session.cancelled().await;
    note("no new jobs are begun; those that run may end (once more to take them back now)");
    stop.drain.cancel();
    let until = Instant::now() + grace;
    tokio::select! {
        () = tokio::time::sleep_until(until) => {}
        () = hurry.cancelled() => {}
        () = tell(systemd, || waiting(stop.running(), until.duration_since(Instant::now()))) => {}
    }
    if stop.running() > 0 {
        note("jobs that still run are taken back");
    }
    stop.cancel.cancel();
    let taking_back = || format!("takes back {}", jobs(stop.running()));
    let told = tokio::time::timeout(TAKING_BACK, tell(systemd, taking_back)).await;
    if told.is_err() {
        tracing::error!("jobs do not end");
    }
    std::future::pending::<()>().await;
}

/// Tells systemd again and again what it waits for.
async fn tell(systemd: &Systemd, status: impl Fn() -> String) {
    loop {
        systemd.stopping(&status());
        tokio::time::sleep(AT_THE_END_EVERY).await;
    }
}

fn waiting(running: usize, left: Duration) -> String {
    if running == 0 {
        return "ends".to_owned();
    }
    let (jobs, left) = (jobs(running), left.as_secs());
    format!("waits for {jobs} to end; what runs in {left} s is taken back")
}

fn jobs(count: usize) -> String {
    match count {
        1 => "1 job".to_owned(),
        count => format!("{count} jobs"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_waited_for_is_said() {
        let left = Duration::from_secs(90);
        assert_eq!(waiting(0, left), "ends");
        let one = "waits for 1 job to end; what runs in 90 s is taken back";
        assert_eq!(waiting(1, left), one);
        assert!(waiting(2, left).starts_with("waits for 2 jobs"));
    }
}
