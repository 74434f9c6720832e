//! What is done to the store, and what it did.

use std::sync::Arc;

use bytes::Bytes;
use tresor_backend::{
    Backend, ErrorKind, ObjectName,
    contract::{self, CHECKS, Check},
    wrap::{Metered, Verb},
};
use tresor_backend_object::ObjectBackend;
use tresor_host::internal;
use tresor_problem::Problem;
use tresor_workflows::storage_problem;

use super::{Finding, Verdict, locks, report};
use crate::output::note;

/// The checks that are made before a vault is: what commits and reads stand on.
const ESSENTIAL: &[&str] = &[
    "an object comes back as it was put",
    "ranges are exact",
    "nothing is overwritten",
    "a prefix ends at any byte",
    "of racing puts one wins",
];

/// Whether a new vault may rely on the store.
///
/// # Errors
/// `VaultStorageUnfit` with the first promise that is broken, `VaultHoldFailed` where locks on objects
/// are accepted and ignored; what a failing store says.
pub(in crate::commands) async fn try_out(
    store: &ObjectBackend,
    backend: &Arc<dyn Backend>,
    location: &str,
) -> Result<(), Problem> {
    let area = super::fresh_area()?;
    let (_, deletes) = deletes(backend, &area, location).await?;
    for (nth, check) in CHECKS.iter().enumerate() {
        if ESSENTIAL.contains(&check.name) {
            let done = once_more(check, backend, &area, nth, 1 << 20, deletes).await;
            done.map_err(|violation| report::judge(&violation, location).1)?;
        }
    }
    let (lock, ignored) = locks::examine(store, backend, &area, location).await?;
    if lock.verdict == Verdict::Warning {
        note(&format!("warning: {}: {}", lock.check, lock.evidence));
    }
    if !deletes {
        clear_or_hide(store, backend, &format!("{area}/")).await;
    }
    ignored.map_or(Ok(()), Err)
}

/// Runs the whole contract; gives what was found and the first thing that is wrong.
pub(super) async fn contract(
    backend: &Arc<dyn Backend>,
    area: &ObjectName,
    big_len: usize,
    location: &str,
) -> Result<(Vec<Finding>, Option<Problem>), Problem> {
    let (finding, may_delete) = deletes(backend, area, location).await?;
    let (mut findings, mut worst) = (vec![finding], None);
    for (nth, check) in CHECKS.iter().enumerate() {
        if check.deletes && !may_delete {
            let evidence = "not examined: nothing can be deleted here";
            findings.push(Finding::new(check.name, Verdict::Note, evidence));
            continue;
        }
        let metered = Arc::new(Metered::new(Arc::clone(backend)));
        let counted: Arc<dyn Backend> = metered.clone();
        match once_more(check, &counted, area, nth, big_len, may_delete).await {
            Ok(()) => findings.push(Finding::new(check.name, Verdict::Good, seen(&metered))),
            Err(violation) => {
                let (finding, problem) = report::judge(&violation, location);
                findings.push(finding);
                worst.get_or_insert(problem);
                clear(backend, &format!("{area}/")).await;
            }
        }
    }
    Ok((findings, worst))
}

/// A check that fails is made again: a put whose answer was lost on the way is repeated, and that may
/// look like a broken promise. A promise that is broken is broken twice.
async fn once_more(
    check: &Check,
    backend: &Arc<dyn Backend>,
    area: &ObjectName,
    nth: usize,
    big_len: usize,
    clear: bool,
) -> Result<(), contract::Violation> {
    let first = contract::examine(check, backend, format!("{area}/{nth}"), big_len, clear).await;
    match first {
        Ok(()) => Ok(()),
        Err(_) => {
            let again = format!("{area}/{nth}-again");
            contract::examine(check, backend, again, big_len, clear).await
        }
    }
}

fn seen<B>(metered: &Metered<B>) -> String {
    let usage = metered.snapshot();
    let calls = [
        Verb::Put,
        Verb::Get,
        Verb::GetRange,
        Verb::Stat,
        Verb::List,
        Verb::Delete,
    ]
    .map(|verb| (verb.name(), usage.of(verb).calls));
    let made = calls.iter().filter(|(_, calls)| *calls > 0);
    let made: Vec<String> = made
        .map(|(name, calls)| format!("{calls} {name}"))
        .collect();
    format!("held for {}", made.join(", "))
}

/// Whether these credentials may remove what they stored. Whoever steals them may do the same.
async fn deletes(
    backend: &Arc<dyn Backend>,
    area: &ObjectName,
    location: &str,
) -> Result<(Finding, bool), Problem> {
    const CHECK: &str = "what these credentials may do";
    let failed = |error| storage_problem(&error, location);
    let name = object(area, "first")?;
    backend
        .put(&name, Bytes::from_static(b"a vault was here"))
        .await
        .map_err(failed)?;
    match backend.delete(&name).await {
        Ok(()) => {
            let evidence = "put, read and delete: whoever has them can remove backups";
            Ok((Finding::new(CHECK, Verdict::Note, evidence), true))
        }
        Err(error) if error.kind() == ErrorKind::Denied => {
            let evidence = format!(
                "put and read, deletes are refused: append-only; the examination's objects stay below {area}/"
            );
            Ok((Finding::new(CHECK, Verdict::Note, evidence), false))
        }
        Err(error) if error.kind() == ErrorKind::Retained => {
            let evidence = "put and read; the store holds what is put, nobody removes it before";
            Ok((Finding::new(CHECK, Verdict::Note, evidence), false))
        }
        Err(error) => Err(failed(error)),
    }
}

/// Removes what can be removed: what stays is below a name that no vault uses.
pub(super) async fn clear(backend: &Arc<dyn Backend>, prefix: &str) {
    for meta in backend.list(prefix).await.unwrap_or_default() {
        if backend.delete(&meta.name).await.is_err() {
            return;
        }
    }
}

/// The same, and what the store holds is hidden: so it is in nobody's way.
pub(in crate::commands) async fn clear_or_hide(
    store: &ObjectBackend,
    backend: &Arc<dyn Backend>,
    prefix: &str,
) {
    for meta in backend.list(prefix).await.unwrap_or_default() {
        let deleted = backend.delete(&meta.name).await;
        let gone = match deleted {
            Err(error) if error.kind() == ErrorKind::Retained => store.hide(&meta.name).await,
            deleted => deleted,
        };
        if gone.is_err() {
            return;
        }
    }
}

pub(super) fn object(area: &ObjectName, below: &str) -> Result<ObjectName, Problem> {
    ObjectName::new(format!("{area}/{below}")).map_err(|error| internal(error.to_string()))
}
