//! Plans of `tresor expire`: what was asked for is kept in the state directory under the plan's id, so that
//! exactly it can be applied.

use std::path::PathBuf;

use tresor_host::StateDir;
use tresor_problem::{Kind, Problem};
use tresor_workflows::expire::{Plan, Request};

/// Notes what was asked for under the plan's id.
pub(crate) fn keep(plan: &Plan, state: &StateDir) -> Result<(), Problem> {
    let path = path(state, &plan.id);
    let write = || {
        std::fs::create_dir_all(state.plans())?;
        std::fs::write(&path, serde_json::to_vec(&plan.request)?)
    };
    write().map_err(|error| unusable(&path, &error))
}

/// What was asked for when a plan was made.
pub(crate) fn recall(state: &StateDir, id: &str) -> Result<Request, Problem> {
    let unknown = || {
        Problem::from(Kind::PlanUnknown {
            plan: id.to_owned(),
        })
    };
    if !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(unknown());
    }
    let path = path(state, id);
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(unknown()),
        Err(error) => return Err(unusable(&path, &error)),
    };
    serde_json::from_slice(&text).map_err(|error| unusable(&path, &error.into()))
}

fn path(state: &StateDir, id: &str) -> PathBuf {
    state.plans().join(format!("{id}.json"))
}

fn unusable(path: &std::path::Path, error: &std::io::Error) -> Problem {
    let kind = Kind::StateUnusable {
        path: path.display().to_string(),
        reason: error.to_string(),
    };
    Problem::caused_by(kind, error)
}
