//! Whether the store holds what is to stay (S3 Object Lock), tried on an object of our own.

use std::{sync::Arc, time::Duration, time::SystemTime};

use bytes::Bytes;
use tresor_backend::{Backend, Error, ErrorKind, ObjectName, Retained};
use tresor_backend_object::{LockTrial, ObjectBackend};
use tresor_problem::{Kind, Problem};
use tresor_workflows::storage_problem;

use super::{Finding, Verdict, trial::object};

const CHECK: &str = "locks on objects (S3 Object Lock) hold";
/// For so long the object of the examination is held: longer than the examination takes.
const HOLD: Duration = Duration::from_secs(120);

/// Whether what is immutable in a vault here would be held.
///
/// # Errors
/// What a failing store says.
pub(super) async fn examine(
    store: &ObjectBackend,
    backend: &Arc<dyn Backend>,
    area: &ObjectName,
    location: &str,
) -> Result<(Finding, Option<Problem>), Problem> {
    let name = object(area, "lock")?;
    let put = backend.put(&name, Bytes::from_static(b"a vault was here"));
    put.await
        .map_err(|error| storage_problem(&error, location))?;
    let tried = attempt(store, backend, &name).await;
    // What is held stays, out of sight: its name is none that a vault uses.
    store.hide(&name).await.ok();
    match tried {
        Ok((verdict, evidence)) => Ok((Finding::new(CHECK, verdict, evidence), None)),
        Err(error) => judge(&error, location),
    }
}

async fn attempt(
    store: &ObjectBackend,
    backend: &Arc<dyn Backend>,
    name: &ObjectName,
) -> Result<(Verdict, String), Error> {
    let asked = backend.retain_until(name, SystemTime::now() + HOLD).await?;
    let Some(lock) = store.lock_of(name).await? else {
        let evidence = match store.has_object_lock().await? {
            true => "switched off (--object-lock off): only Tresor keeps what is immutable",
            false => "the bucket has no Object Lock: only Tresor keeps what is immutable",
        };
        return Ok((Verdict::Note, evidence.to_owned()));
    };
    let by = match asked {
        Retained::ByStore => "",
        Retained::NotSupported => " by a rule of the bucket",
    };
    let said = format!("{} until {}{by}", lock.mode, lock.until);
    match store.try_lock(name, &lock).await? {
        LockTrial::Enforced => {
            let evidence = format!("{said}; removing the version was refused");
            Ok((Verdict::Good, evidence))
        }
        LockTrial::Ignored => {
            let what = format!("{said}, and the version could be removed all the same");
            Err(Error::new(ErrorKind::Unfit, "delete", name.as_str()).because(what))
        }
        LockTrial::NotTried => Ok((Verdict::Note, format!("{said}; not tried"))),
    }
}

/// A store that ignores what it accepted is told apart from credentials that may not ask.
fn judge(error: &Error, location: &str) -> Result<(Finding, Option<Problem>), Problem> {
    let reason = std::error::Error::source(error).map_or_else(String::new, ToString::to_string);
    match error.kind() {
        ErrorKind::Unfit => {
            let finding = Finding::new(CHECK, Verdict::Broken, reason.clone());
            let problem = Kind::VaultHoldFailed {
                location: location.to_owned(),
                object: error.object().to_owned(),
                reason,
            };
            Ok((finding, Some(problem.into())))
        }
        ErrorKind::Denied => {
            let evidence = format!("these credentials may not ask for it: {reason}");
            Ok((Finding::new(CHECK, Verdict::Warning, evidence), None))
        }
        _ => Err(storage_problem(error, location)),
    }
}
