//! A host's clock shows another time than the service's.

use std::time::Duration;

use tokio::time::Instant;

use super::site::{PATIENCE, Site};

#[tokio::test]
async fn a_host_whose_clock_is_wrong_backs_up_or_says_so() {
    let mut site = Site::new(&[1]).await;
    site.reach(1).await;
    // Within the hour that certificates allow for, ahead and behind.
    for clock in ["+50m", "-50m"] {
        site.kill(Some(0)).await;
        site.clock = Some(clock);
        site.start_host(0, &[]).await;
        site.each_has_another().await;
    }
    // Beyond it the host trusts no certificate, and says which problem that is. Its guest goes on, and what is in the
    // vault stays.
    site.kill(Some(0)).await;
    site.clock = Some("-3h");
    site.start_host(0, &[]).await;
    let until = Instant::now() + PATIENCE;
    while !site.told().contains("ServerNotTrusted") {
        assert!(Instant::now() < until, "{}", site.told());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    site.assert_thawed().await;
    site.kill(Some(0)).await;
    site.clock = None;
    site.start_host(0, &[]).await;
    site.each_has_another().await;
    site.end().await;
}
