//! What every QEMU guest agent behind the port must do, be it real or scripted.

use std::time::Duration;

use tresor_link::{FreezeRequest, QemuGuestAgent, QuiesceErrorKind, Quiescer as _};

pub(crate) const REQUEST: FreezeRequest = FreezeRequest {
    freeze_limit: Duration::from_secs(20),
    hold_limit: Duration::from_secs(60),
};

/// Runs the whole of it on an agent that is well.
pub(crate) async fn holds_for(agent: &mut QemuGuestAgent) {
    let info = agent.probe(Duration::from_secs(30)).await.unwrap();
    assert!(info.can_freeze, "{info:?}");
    assert!(!info.version.is_empty());
    agent.flush(Duration::from_secs(60)).await.unwrap();
    for _ in 0..2 {
        let freeze = agent.freeze(REQUEST).await.unwrap();
        assert!(freeze.file_systems >= 1, "{freeze:?}");
        let thaw = agent.thaw().await.unwrap();
        assert!(thaw.held, "{thaw:?}");
        assert_eq!(thaw.file_systems, freeze.file_systems);
        assert!(!thaw.frozen_for.is_zero());
        assert!(!thaw.evidence.is_empty());
    }
    let again = agent.thaw().await.unwrap_err();
    assert_eq!(again.kind, QuiesceErrorKind::Refused, "{again}");
    agent.recover().await.unwrap();
    // Recovering a guest that is frozen through the same channel ends that freeze.
    agent.freeze(REQUEST).await.unwrap();
    agent.recover().await.unwrap();
    agent.freeze(REQUEST).await.unwrap();
    agent.thaw().await.unwrap();
}
