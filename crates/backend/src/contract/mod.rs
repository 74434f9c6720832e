//! What every backend must do, as checks that run against any of them.
//!
//! The checks report instead of panicking, use only names below an area of their own, and clean
//! it up: they serve tests and, on a real store, a doctor's examination alike. They cannot
//! see durability: that takes a power cut, for the local directory the simulated one ([`crate::sim`]).

mod names;
mod objects;
mod races;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;

use crate::{Backend, Error, ErrorKind, ObjectName};

/// A promise of the port that a backend broke.
#[derive(Debug)]
pub struct Violation {
    check: &'static str,
    what: String,
    source: Option<Error>,
}

impl Violation {
    fn new(what: impl Into<String>) -> Self {
        Self {
            check: "",
            what: what.into(),
            source: None,
        }
    }

    fn because(mut self, source: Error) -> Self {
        self.source = Some(source);
        self
    }

    /// The check that found it.
    #[must_use]
    pub fn check(&self) -> &'static str {
        self.check
    }

    /// The backend's own error, if that is what broke the promise.
    #[must_use]
    pub fn cause(&self) -> Option<&Error> {
        self.source.as_ref()
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.check, self.what)
    }
}

impl std::error::Error for Violation {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}

type Outcome = Result<(), Violation>;
type Running<'a> = Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

/// One promise and how to see whether it is kept.
pub struct Check {
    /// What is promised, in a few words.
    pub name: &'static str,
    /// Whether it removes objects as part of its examination.
    pub deletes: bool,
    run: for<'a> fn(&'a Bench) -> Running<'a>,
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check").field("name", &self.name).finish()
    }
}

/// All checks, in the order in which to run them.
pub const CHECKS: &[Check] = &[
    Check {
        deletes: false,
        name: "an object comes back as it was put",
        run: |bench| Box::pin(objects::round_trip(bench)),
    },
    Check {
        deletes: false,
        name: "an empty object is an object",
        run: |bench| Box::pin(objects::empty(bench)),
    },
    Check {
        deletes: false,
        name: "ranges are exact",
        run: |bench| Box::pin(objects::ranges(bench)),
    },
    Check {
        deletes: false,
        name: "a get is bounded",
        run: |bench| Box::pin(objects::bounded_get(bench)),
    },
    Check {
        deletes: false,
        name: "many objects come in the order of their names",
        run: |bench| Box::pin(objects::many(bench)),
    },
    Check {
        deletes: false,
        name: "what is missing is not found",
        run: |bench| Box::pin(objects::missing(bench)),
    },
    Check {
        deletes: false,
        name: "nothing is overwritten",
        run: |bench| Box::pin(objects::no_overwrite(bench)),
    },
    Check {
        deletes: true,
        name: "deleting twice is deleting once",
        run: |bench| Box::pin(objects::delete_twice(bench)),
    },
    Check {
        deletes: false,
        name: "a big object comes back",
        run: |bench| Box::pin(objects::big(bench)),
    },
    Check {
        deletes: false,
        name: "every legal name works",
        run: |bench| Box::pin(names::all_legal(bench)),
    },
    Check {
        deletes: false,
        name: "a list is sorted and complete",
        run: |bench| Box::pin(names::sorted_and_complete(bench)),
    },
    Check {
        deletes: false,
        name: "a prefix ends at any byte",
        run: |bench| Box::pin(names::prefixes(bench)),
    },
    Check {
        deletes: false,
        name: "a prefix leads nowhere else",
        run: |bench| Box::pin(names::hostile_prefixes(bench)),
    },
    Check {
        deletes: false,
        name: "of racing puts one wins",
        run: |bench| Box::pin(races::one_winner(bench)),
    },
    Check {
        deletes: false,
        name: "readers see no half object",
        run: |bench| Box::pin(races::no_half_object(bench)),
    },
    Check {
        deletes: false,
        name: "a sweep takes no object",
        run: |bench| Box::pin(races::sweep_spares_objects(bench)),
    },
];

/// What is promised in the place of a check by a store that neither deletes nor sweeps for its caller,
/// and says so ([`ErrorKind::Refused`]).
const REFUSED: &[(&str, Check)] = &[
    (
        "deleting twice is deleting once",
        Check {
            deletes: false,
            name: "a delete is refused and changes nothing",
            run: |bench| Box::pin(objects::delete_refused(bench)),
        },
    ),
    (
        "a sweep takes no object",
        Check {
            deletes: false,
            name: "a sweep is refused and takes no object",
            run: |bench| Box::pin(races::sweep_refused(bench)),
        },
    ),
];

/// Runs all checks on a store that is append-only for its caller: those that delete or sweep are
/// replaced by what is promised in their place. What was put stays.
///
/// # Errors
/// The first promise found broken.
pub async fn append_only_suite(
    backend: Arc<dyn Backend>,
    area: &ObjectName,
    big_len: usize,
) -> Result<(), Violation> {
    for (nth, check) in CHECKS.iter().enumerate() {
        let instead = REFUSED.iter().find(|(name, _)| *name == check.name);
        let check = instead.map_or(check, |(_, instead)| instead);
        let area = format!("{area}/{nth}");
        examine(check, &backend, area, big_len, false).await?;
    }
    Ok(())
}

/// Runs all checks. `area` is a name below which nothing else may be (`doctor-5f3a`); `big_len`
/// the length of the largest object, 64 MiB where time allows.
///
/// # Errors
/// The first promise found broken. The area may then hold objects still.
pub async fn suite(
    backend: Arc<dyn Backend>,
    area: &ObjectName,
    big_len: usize,
) -> Result<(), Violation> {
    for (nth, check) in CHECKS.iter().enumerate() {
        // Names of their own: a directory keeps the directories that one check's names needed.
        let area = format!("{area}/{nth}");
        examine(check, &backend, area, big_len, true).await?;
    }
    Ok(())
}

/// Runs one check below `area`, and clears that up if `clear` says so: where deletes are refused,
/// what was put stays.
///
/// # Errors
/// The promise that is broken.
pub async fn examine(
    check: &Check,
    backend: &Arc<dyn Backend>,
    area: String,
    big_len: usize,
    clear: bool,
) -> Result<(), Violation> {
    let bench = Bench {
        backend: Arc::clone(backend),
        area,
        big_len,
    };
    let outcome = match (check.run)(&bench).await {
        Ok(()) if clear => bench.clear().await,
        outcome => outcome,
    };
    outcome.map_err(|violation| Violation {
        check: check.name,
        ..violation
    })
}

/// A backend under examination.
struct Bench {
    backend: Arc<dyn Backend>,
    area: String,
    big_len: usize,
}

impl Bench {
    fn name(&self, below: &str) -> Result<ObjectName, Violation> {
        ObjectName::new(format!("{}/{below}", self.area))
            .map_err(|error| Violation::new(error.to_string()))
    }

    async fn put(&self, below: &str, body: impl Into<Bytes>) -> Result<ObjectName, Violation> {
        let name = self.name(below)?;
        let put = self.backend.put(&name, body.into()).await;
        put.map_err(|error| Violation::new("put failed").because(error))?;
        Ok(name)
    }

    async fn expect_body(&self, name: &ObjectName, body: &[u8]) -> Outcome {
        let max_size = body.len() as u64;
        let found = self.backend.get(name, max_size).await;
        let found = found.map_err(|error| Violation::new("get failed").because(error))?;
        ensure(found == body, || format!("{name} has other bytes"))
    }

    /// Names below the area that a list with `prefix` (below it, too) gives.
    async fn list(&self, prefix: &str) -> Result<Vec<String>, Violation> {
        let listed = self.backend.list(&format!("{}/{prefix}", self.area)).await;
        let listed = listed.map_err(|error| Violation::new("list failed").because(error))?;
        let below = self.area.len() + 1;
        let names = listed.iter().map(|meta| {
            let name = meta.name.as_str().get(below..);
            name.unwrap_or("(outside the area)").to_owned()
        });
        Ok(names.collect())
    }

    async fn clear(&self) -> Outcome {
        let failed = |error| Violation::new("cleaning up failed").because(error);
        let left = self.backend.list(&format!("{}/", self.area)).await;
        for meta in left.map_err(failed)? {
            self.backend.delete(&meta.name).await.map_err(failed)?;
        }
        let left = self.list("").await?;
        ensure(left.is_empty(), || format!("deleted, but listed: {left:?}"))
    }
}

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Outcome {
    if holds {
        Ok(())
    } else {
        Err(Violation::new(what()))
    }
}

/// The call must have failed, and in this way.
fn ensure_kind<T>(call: &str, got: Result<T, Error>, want: ErrorKind) -> Outcome {
    match got {
        Ok(_) => Err(Violation::new(format!(
            "{call} succeeded, expected {want:?}"
        ))),
        Err(error) if error.kind() == want => Ok(()),
        Err(error) => Err(Violation::new(format!("{call}: expected {want:?}")).because(error)),
    }
}

fn succeed<T>(call: &str, got: Result<T, Error>) -> Result<T, Violation> {
    got.map_err(|error| Violation::new(format!("{call} failed")).because(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_check_that_deletes_has_one_in_its_place() {
        let replaces = |check: &&Check| REFUSED.iter().any(|(name, _)| *name == check.name);
        let deleting = CHECKS.iter().filter(|check| check.deletes);
        assert!(deleting.clone().count() > 0);
        assert!(deleting.clone().all(|check| replaces(&check)));
        assert_eq!(CHECKS.iter().filter(replaces).count(), REFUSED.len());
    }
}
