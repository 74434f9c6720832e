//! The audit log's entry for a change.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use tresor_catalog::AuditRecord;
use tresor_identity::Action;
use tresor_model::AuditId;

use crate::{ApiState, Principal, failure::Answer};

/// Notes a change that was made. When that fails the request does, so that its maker knows.
pub(crate) async fn note(
    state: &ApiState,
    who: &Principal,
    action: Action,
    object: String,
    (before, after): (Option<impl Serialize>, Option<impl Serialize>),
) -> Answer<()> {
    let entry = AuditRecord {
        id: AuditId::generate(),
        at: Timestamp::now(),
        actor: who.name.clone(),
        action: action.name().to_owned(),
        object,
        before: before.map(json),
        after: after.map(json),
    };
    Ok(state.catalog.append_audit(&entry).await?)
}

/// Nothing, where something could have been.
pub(crate) const NOTHING: Option<Value> = None;

fn json(value: impl Serialize) -> Value {
    // Views of records: strings, numbers and lists of them, nothing that JSON refuses.
    serde_json::to_value(value).unwrap_or_default()
}
