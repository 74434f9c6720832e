//! `tresor vault doctor`: whether a store keeps what a vault relies on, with the evidence.
//!
//! The checks are the contract that every backend passes in the tests. They run below
//! `doctor-<random>`, a name that no vault uses, and clear that up where deletes are allowed.

mod locks;
mod report;
mod trial;

use std::{path::Path, sync::Arc};

use serde::Serialize;
use tresor_backend::{Backend, ObjectName};
use tresor_host::{Location, internal, stack};
use tresor_problem::Problem;

use super::{
    open::find_vault,
    session::{Session, print_problem},
};
use crate::{args::StoreArgs, output::note};

pub(super) use trial::{clear_or_hide, try_out};

/// What names of examinations begin with; no object of a vault is called so.
pub(super) const AREA: &str = "doctor-";

/// Bytes of the largest object that is put: as large as a pack.
const BIG: usize = 32 << 20;

/// What a check came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    /// As a vault needs it.
    Good,
    /// Nothing that a vault relies on; worth knowing.
    Note,
    /// Worth doing something about.
    Warning,
    /// A vault must not rely on this store.
    Broken,
}

/// A check and its evidence.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Finding {
    check: String,
    verdict: Verdict,
    evidence: String,
}

impl Finding {
    fn new(check: &str, verdict: Verdict, evidence: impl Into<String>) -> Self {
        Self {
            check: check.to_owned(),
            verdict,
            evidence: evidence.into(),
        }
    }
}

pub(super) async fn run(
    session: &Session,
    named: Option<String>,
    store: &StoreArgs,
) -> Result<(), Problem> {
    let location = match &named {
        // A URL with options: as `vault create` would reach it.
        Some(url) if url.contains("://") && is_new(session, url).await? => {
            Location::read(Path::new(url), store.settings())?
        }
        _ => {
            let catalog = session.catalog().await?;
            find_vault(&catalog, named.as_deref(), None).await?.location
        }
    };
    let area = fresh_area()?;
    note(&format!("examining {location}, below {area}/"));
    let (findings, worst) = examine(&location, &area).await?;
    session
        .output
        .list(
            "check",
            &["check", "verdict", "evidence"],
            &findings,
            report::cells,
            "",
        )
        .map_err(print_problem)?;
    match worst {
        Some(problem) => Err(problem),
        None => Ok(()),
    }
}

/// Whether the catalog does not know it: what it knows is reached as it says.
async fn is_new(session: &Session, url: &str) -> Result<bool, Problem> {
    let vaults = session.catalog().await?.vaults().await;
    let vaults = vaults.map_err(|error| Problem::from(&error))?;
    Ok(!vaults.iter().any(|vault| vault.location == url))
}

async fn examine(
    location: &Location,
    area: &ObjectName,
) -> Result<(Vec<Finding>, Option<Problem>), Problem> {
    let name = location.to_string();
    match location {
        Location::Directory(path) => {
            let backend = location.open(None).await?;
            let done = trial::contract(&backend, area, BIG, &name).await;
            remove_empty(&path.join(area.as_str()));
            done
        }
        Location::Store(_, settings) => {
            let store = Arc::new(location.object_store()?);
            let backend: Arc<dyn Backend> = stack(Arc::clone(&store), settings, None);
            let (mut findings, worst) = trial::contract(&backend, area, BIG, &name).await?;
            let (lock, ignored) = locks::examine(&store, &backend, area, &name).await?;
            findings.push(lock);
            findings.push(report::powers(
                &store.powers(&trial::object(area, "trial")?).await,
            ));
            findings.push(report::clock(store.clock_difference()));
            trial::clear_or_hide(&store, &backend, &format!("{area}/")).await;
            Ok((findings, worst.or(ignored)))
        }
    }
}

fn fresh_area() -> Result<ObjectName, Problem> {
    let mut random = [0; 4];
    getrandom::fill(&mut random)
        .map_err(|error| internal(format!("The system gives no random numbers: {error}.")))?;
    ObjectName::new(format!("{AREA}{:08x}", u32::from_ne_bytes(random)))
        .map_err(|error| internal(error.to_string()))
}

/// Directories that became empty stay in a vault; these were never its own. One that is not empty
/// is not removed.
fn remove_empty(dir: &Path) {
    let below = std::fs::read_dir(dir).into_iter().flatten().flatten();
    for entry in below.filter(|entry| entry.path().is_dir()) {
        remove_empty(&entry.path());
    }
    std::fs::remove_dir(dir).ok();
}
