//! Deleting the objects of sessions that are nobody's any more: step 12.

use std::collections::BTreeSet;

use tresor_model::SessionId;
use tresor_vault_format::{PackId, Plan, name};

use crate::error::Result;
use crate::session::{PlantedBug, Protocol};
use crate::vault::Inner;

/// Deletes what is there of sessions and, where it is gone, makes sure that it does not come back. The
/// begin is gone, durably, before the name of the end is free: a writer that comes back then looks for
/// its begin. The marks go last, or the point would be back.
pub(super) async fn clear(
    vault: &Inner,
    sessions: &BTreeSet<SessionId>,
    protocol: Protocol,
) -> Result<()> {
    'sessions: for session in sessions {
        let (begin, end) = (name::session_begin(*session), name::session_end(*session));
        let order = match protocol.has(PlantedBug::FreesEndFirst) {
            true => [end, begin],
            false => [begin, end],
        };
        for object in order {
            if !vault.store.delete_unless_held(&object).await? {
                // Dropped by the next plan again.
                continue 'sessions;
            }
        }
        unmark(vault, *session).await?;
    }
    Ok(())
}

/// The newest state first: what is left after a kill are states that were there before.
async fn unmark(vault: &Inner, session: SessionId) -> Result<()> {
    let states = vault.store.list(&name::state_prefix(session)).await?;
    for state in states.iter().rev() {
        vault.store.delete_unless_held(state.name.as_str()).await?;
    }
    let mark = name::expired(session);
    vault.store.delete_unless_held(&mark).await.map(drop)
}

/// Deletes the marks of damaged packs that are gone, and that nobody refers to.
pub(super) async fn forget_damage(vault: &Inner, gone: &[PackId]) -> Result<()> {
    let marked = crate::damage::marked_packs(vault).await?;
    for pack in gone.iter().filter(|pack| marked.contains(pack)) {
        vault.store.delete(&name::damaged(pack)).await?;
    }
    Ok(())
}

/// For a planted bug.
pub(super) async fn unmark_all(vault: &Inner, plan: &Plan) -> Result<()> {
    for session in &plan.dropped {
        unmark(vault, *session).await?;
    }
    Ok(())
}
