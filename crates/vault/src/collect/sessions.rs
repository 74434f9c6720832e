//! Deleting the objects of sessions that are nobody's any more: step 12.

use tresor_model::SessionId;
use tresor_vault_format::{Plan, name};

use crate::error::Result;
use crate::points::{Standing, read_record};
use crate::session::{PlantedBug, Protocol};
use crate::vault::Inner;

/// A session that is kept after all (undeleted, pinned) stays as it is; its packs were struck off.
pub(super) async fn clear(vault: &Inner, plan: &Plan, protocol: Protocol) -> Result<()> {
    let standing = Standing::list(vault).await?;
    for session in &plan.dropped {
        if !is_kept_after_all(vault, &standing, *session).await? {
            clear_one(vault, *session, protocol).await?;
        }
    }
    Ok(())
}

async fn is_kept_after_all(vault: &Inner, standing: &Standing, session: SessionId) -> Result<bool> {
    let whole = standing.begun.contains(&session) && standing.ended.contains(&session);
    if !whole || standing.may_go.contains(&session) {
        return Ok(false);
    }
    match read_record(vault, session).await {
        Ok(point) => Ok(point.is_some()),
        Err(error) if error.is_gone() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Deletes whatever is there and, where it is gone, makes sure that it does not come back. The begin
/// is gone, durably, before the name of the end is free: a writer that comes back then looks for its begin.
async fn clear_one(vault: &Inner, session: SessionId, protocol: Protocol) -> Result<()> {
    let (begin, end) = (name::session_begin(session), name::session_end(session));
    let order = match protocol.has(PlantedBug::FreesEndFirst) {
        true => [end, begin],
        false => [begin, end],
    };
    for object in order {
        vault.store.delete(&object).await?;
    }
    vault.store.delete(&name::expired(session)).await
}

/// For a planted bug.
pub(super) async fn unmark(vault: &Inner, plan: &Plan) -> Result<()> {
    for session in &plan.dropped {
        vault.store.delete(&name::expired(*session)).await?;
    }
    Ok(())
}
