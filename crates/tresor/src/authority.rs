//! The certificate authority of this process: where several share a catalog, the same for all of them.
//!
//! Hosts and API clients know the service by its authority, whichever process answers. Its files are not in the
//! database: who reads that must not be able to pass for the service.

use std::path::Path;

use jiff::Timestamp;
use tresor_catalog::Catalog;
use tresor_identity::{Authority, Names};
use tresor_model::{Fact, Observation};
use tresor_problem::{Kind, Problem};

/// Under what the catalog knows the authority.
const SUBJECT: &str = "service";
const NAME: &str = "authority.fingerprint";
const OBSERVER: &str = "tresor";

/// Opens the authority in a directory; makes it where no process on this catalog has one. With `adopt`, this
/// one counts from now on.
pub(crate) async fn open(dir: &Path, catalog: &Catalog, adopt: bool) -> Result<Authority, Problem> {
    let make = || {
        let made = Authority::open_or_create(dir, &Names::default(), Timestamp::now());
        made.map_err(|error| Problem::from(&error))
    };
    if !catalog.is_shared() {
        return make();
    }
    // One that is made beside the others' would only have to be thrown away.
    let known = catalog.facts(SUBJECT).await;
    let known = known.map_err(|error| Problem::from(&error))?;
    let known = known.iter().find(|fact| fact.name == NAME);
    let is_there = ["ca.key", "ca.crt"]
        .iter()
        .any(|file| dir.join(file).exists());
    if let Some(known) = known.filter(|_| !adopt && !is_there) {
        return Err(foreign(dir, "none", known));
    }
    let authority = make()?;
    let own = authority.fingerprint().to_string();
    let fact = Fact::present(NAME, own.as_str(), OBSERVER, Timestamp::now());
    if adopt {
        let kept = catalog.record_facts(SUBJECT, &[fact]).await;
        kept.map_err(|error| Problem::from(&error))?;
        return Ok(authority);
    }
    let first = catalog.first_fact(SUBJECT, &fact).await;
    let first = first.map_err(|error| Problem::from(&error))?;
    if value(&first) == own {
        return Ok(authority);
    }
    Err(foreign(dir, &own, &first))
}

fn value(fact: &Fact) -> &str {
    match &fact.observation {
        Observation::Present { value } => value.as_str().unwrap_or_default(),
        _ => "",
    }
}

fn foreign(dir: &Path, found: &str, expected: &Fact) -> Problem {
    Kind::AuthorityForeign {
        dir: dir.display().to_string(),
        found: found.to_owned(),
        expected: value(expected).to_owned(),
    }
    .into()
}
