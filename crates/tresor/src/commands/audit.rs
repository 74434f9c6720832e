//! Changes that somebody makes from the service's machine, in the audit log.

use jiff::Timestamp;
use serde_json::Value;
use tresor_catalog::{AuditRecord, Catalog};
use tresor_model::AuditId;
use tresor_problem::Problem;

/// What was changed, from what to what. Without secrets.
pub(super) struct Change {
    /// In the words of the API's actions.
    pub(super) action: &'static str,
    pub(super) object: String,
    pub(super) before: Option<Value>,
    pub(super) after: Option<Value>,
}

/// Notes a change that was made. When that fails the command does, so that its user knows.
pub(super) async fn note(catalog: &Catalog, change: Change) -> Result<(), Problem> {
    let entry = AuditRecord {
        id: AuditId::generate(),
        at: Timestamp::now(),
        actor: actor(),
        action: change.action.to_owned(),
        object: change.object,
        before: change.before,
        after: change.after,
    };
    let noted = catalog.append_audit(&entry).await;
    noted.map_err(|error| Problem::from(&error))
}

/// The user of this machine who gave the command; with `sudo`, who that was.
fn actor() -> String {
    let user = rustix::process::getuid().as_raw();
    let machine = rustix::system::uname();
    let machine = machine.nodename().to_string_lossy().into_owned();
    let name = std::env::var("SUDO_UID").ok().filter(|_| user == 0);
    let uid = name.filter(|uid| uid.bytes().all(|byte| byte.is_ascii_digit()));
    format!(
        "user {} of {machine}",
        uid.unwrap_or_else(|| user.to_string())
    )
}
