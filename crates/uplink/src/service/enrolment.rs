//! How a host becomes one: it shows a token, and gets a certificate.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use tresor_catalog::{
    AuditRecord, Catalog, CatalogError, CatalogErrorKind, Enrolling, EnrolmentRecord, HostRecord,
    HostState, SecretHash,
};
use tresor_channel::Failure;
use tresor_host_link::wire::failure_of_problem;
use tresor_identity::{Authority, EnrolmentToken, Fingerprint, RequestError};
use tresor_model::{AuditId, HostId};
use tresor_problem::{Kind, Problem};
use zeroize::Zeroizing;

use crate::wire;

/// A host's name has at most so many characters.
const LONGEST_NAME: usize = 64;
/// A version that a host says it has.
const LONGEST_VERSION: usize = 64;

/// Makes a token by which one host of that name can enrol, for so long. Gives the text that is shown once.
/// A host of that name that there is gets a new certificate, and keeps its id.
///
/// # Errors
/// `UsageError` for a name that no host can have; what the catalog says.
pub async fn new_enrolment(
    catalog: &Catalog,
    authority: Fingerprint,
    name: &str,
    valid: Duration,
) -> Result<Zeroizing<String>, Problem> {
    check_name(name)?;
    let token = EnrolmentToken::generate(authority).map_err(|error| {
        let what = format!("No token can be made: {error}.");
        Problem::from(Kind::Internal { what })
    })?;
    let now = Timestamp::now();
    let record = EnrolmentRecord {
        hash: hash_of(&token),
        host_name: Some(name.to_owned()),
        created_at: now,
        expires_at: now.saturating_add(valid).unwrap_or(Timestamp::MAX),
        used_at: None,
        host: None,
    };
    let added = catalog.add_enrolment(&record).await;
    added.map_err(|error| Problem::from(&error))?;
    Ok(token.to_text())
}

fn hash_of(token: &EnrolmentToken) -> SecretHash {
    SecretHash::from(*token.hash().as_bytes())
}

fn check_name(name: &str) -> Result<(), Problem> {
    let plain = |char: char| char.is_ascii_alphanumeric() || "-_.".contains(char);
    let fits = (1..=LONGEST_NAME).contains(&name.len()) && name.chars().all(plain);
    if fits && !name.starts_with(['-', '.']) {
        return Ok(());
    }
    let what = format!(
        "{:?} is no name for a host: at most {LONGEST_NAME} letters, digits, `-`, `_` and `.`.",
        name.chars().take(LONGEST_NAME).collect::<String>()
    );
    Err(Kind::UsageError { what }.into())
}

/// Enrols who shows a token.
pub(super) async fn enrol(
    catalog: &Catalog,
    authority: &Authority,
    asked: &wire::Enrol,
) -> Result<wire::Enrolled, Failure> {
    let done = admit(catalog, authority, asked).await;
    done.map_err(|problem| {
        tracing::warn!(name = ?asked.name.get(..LONGEST_NAME.min(asked.name.len())), %problem, "a host was not enrolled");
        failure_of_problem(&problem)
    })
}

async fn admit(
    catalog: &Catalog,
    authority: &Authority,
    asked: &wire::Enrol,
) -> Result<wire::Enrolled, Problem> {
    let token: EnrolmentToken = asked
        .token
        .parse()
        .map_err(|error: tresor_identity::TokenError| error.enrolment_problem())?;
    let now = Timestamp::now();
    let hash = hash_of(&token);
    // The name is looked at before the token is used up: a typing error costs none.
    let known = catalog
        .enrolment(&hash)
        .await
        .map_err(|error| unusable(&error))?;
    let known = known.ok_or_else(|| used("it is not known here"))?;
    check_name(&asked.name)?;
    let host = host_of(catalog, &known, &asked.name).await?;
    let request = wire::decode("the signing request", &asked.request);
    let request = request.map_err(|failure| refused(&failure.text))?;
    let issued = authority.sign_host(host, &request, now);
    let issued = issued.map_err(|error: RequestError| refused(&error.to_string()))?;
    match catalog
        .use_enrolment(&hash, now, host)
        .await
        .map_err(|error| unusable(&error))?
    {
        Enrolling::Accepted(_) => {}
        Enrolling::Used(_) => return Err(used("it was used before")),
        Enrolling::Expired(_) => return Err(used("its time is over")),
        Enrolling::Unknown => return Err(used("it is not known here")),
    }
    let version = asked.version.chars().take(LONGEST_VERSION).collect();
    let record = HostRecord {
        id: host,
        name: asked.name.clone(),
        state: HostState::Enrolled,
        serial: Some(issued.serial.to_string()),
        enrolled_at: now,
        last_seen: None,
        version: Some(version),
        capabilities: json!({}),
    };
    let enrolled = catalog.enrol_host(&record).await;
    enrolled.map_err(|error| match error.kind {
        CatalogErrorKind::AlreadyExists(_) => taken(&asked.name),
        _ => unusable(&error),
    })?;
    note(catalog, &record).await;
    tracing::info!(%host, name = record.name, "a host was enrolled");
    Ok(wire::Enrolled {
        host,
        certificates: issued.to_pem(),
    })
}

/// Which host it is: a new one, or the one of that name if the token is for it.
async fn host_of(
    catalog: &Catalog,
    known: &EnrolmentRecord,
    name: &str,
) -> Result<HostId, Problem> {
    if known
        .host_name
        .as_ref()
        .is_some_and(|wanted| wanted != name)
    {
        return Err(used("it is for a host of another name"));
    }
    match catalog.host_by_name(name).await {
        Ok(host) if known.host_name.is_some() => Ok(host.id),
        Ok(_) => Err(taken(name)),
        Err(error) if matches!(error.kind, CatalogErrorKind::NotFound(_)) => Ok(HostId::generate()),
        Err(error) => Err(unusable(&error)),
    }
}

async fn note(catalog: &Catalog, host: &HostRecord) {
    let entry = AuditRecord {
        id: AuditId::generate(),
        at: host.enrolled_at,
        actor: format!("host {}", host.id),
        action: "host.enrol".to_owned(),
        object: format!("host {}", host.name),
        before: None,
        after: Some(json!({ "serial": host.serial })),
    };
    if let Err(error) = catalog.append_audit(&entry).await {
        tracing::warn!(%error, "the audit log cannot be written");
    }
}

fn used(reason: &str) -> Problem {
    let reason = reason.to_owned();
    Kind::EnrolmentTokenUsed { reason }.into()
}

fn taken(name: &str) -> Problem {
    let name = name.to_owned();
    Kind::HostNameTaken { name }.into()
}

fn refused(reason: &str) -> Problem {
    let what = format!("The host's request cannot be used: {reason}.");
    Kind::UsageError { what }.into()
}

/// Where the catalog is is not a stranger's to know.
pub(super) fn unusable(error: &CatalogError) -> Problem {
    tracing::warn!(%error, "the catalog cannot be used");
    Kind::ServiceUnreachable {
        server: "The service".to_owned(),
        reason: "its catalog cannot be used now".to_owned(),
    }
    .into()
}

#[cfg(test)]
mod tests {
    use super::check_name;

    #[test]
    fn names_of_hosts() {
        for name in ["a", "node-7", "node.example.org", &"x".repeat(64)] {
            check_name(name).unwrap_or_else(|problem| panic!("{problem}"));
        }
        for name in ["", "-v", ".x", "a b", "a/b", "ä", "a\n", &"x".repeat(65)] {
            assert!(check_name(name).is_err_and(|problem| problem.is("UsageError")));
        }
    }
}
