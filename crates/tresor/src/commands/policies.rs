//! `tresor policies …`

use std::{io::Read as _, path::Path};

use jiff::{Timestamp, tz::TimeZone};
use serde_json::json;
use tresor_catalog::{Catalog, CatalogErrorKind, PolicyRecord};
use tresor_host::{internal, usage};
use tresor_policy::{Policy, PolicyError};
use tresor_problem::{Kind, Problem};

use super::session::{Session, print_problem};
use crate::args::PoliciesCommand;

/// Larger documents are refused.
const LONGEST: u64 = 1 << 20;

/// How many of the next occasions are shown.
const NEXT: usize = 5;

pub(super) async fn run(command: PoliciesCommand, session: &Session) -> Result<(), Problem> {
    let catalog = session.catalog().await?;
    // The ready-made ones are there before the first service is.
    tresor_service::make_ready(&catalog, &Policy::ready_made()).await?;
    match command {
        PoliciesCommand::List => list(session, &catalog).await,
        PoliciesCommand::Show { name } => show(session, &find(&catalog, &name).await?),
        PoliciesCommand::Set { file } => set(session, &catalog, &file).await,
        PoliciesCommand::Remove { name } => remove(session, &catalog, &name).await,
    }
}

async fn find(catalog: &Catalog, name: &str) -> Result<PolicyRecord, Problem> {
    let found = catalog.policy(name).await;
    found.map_err(|error| Problem::from(&error))
}

async fn list(session: &Session, catalog: &Catalog) -> Result<(), Problem> {
    let policies = catalog.all_policies().await;
    let policies = policies.map_err(|error| Problem::from(&error))?;
    let rows: Vec<_> = policies.iter().map(summary).collect::<Result<_, _>>()?;
    let printed = session.output.list(
        "policy",
        &["policy", "due", "longest gap", "revision"],
        &rows,
        |row| {
            let text = |name: &str| row[name].as_str().unwrap_or("-").to_owned();
            vec![
                text("name"),
                text("due"),
                text("longest_gap"),
                row["revision"].to_string(),
            ]
        },
        "there are no policies: `tresor policies set FILE` makes one",
    );
    printed.map_err(print_problem)
}

fn summary(record: &PolicyRecord) -> Result<serde_json::Value, Problem> {
    let policy = &record.policy;
    let due = policy.schedules.iter().map(|it| it.calendar.to_string());
    let gap = windows(policy)?.rpo(Timestamp::now()).worst;
    Ok(json!({
        "name": policy.name, "revision": record.revision,
        "due": due.collect::<Vec<_>>().join("; "),
        "longest_gap": gap.map(|gap| gap.to_string()),
        "longest_gap_s": gap.map(|gap| gap.length().as_secs()),
    }))
}

fn windows(policy: &Policy) -> Result<tresor_policy::windows::Windows, Problem> {
    let windows = policy.windows(&TimeZone::system(), jiff::tz::db());
    windows.map_err(|error| invalid(&policy.name, &error.to_string()))
}

fn show(session: &Session, record: &PolicyRecord) -> Result<(), Problem> {
    let policy = &record.policy;
    let document = toml::to_string(policy)
        .map_err(|error| internal(format!("The policy has no TOML: {error}.")))?;
    let windows = windows(policy)?;
    let now = Timestamp::now();
    let next: Vec<_> = windows.after(now).take(NEXT).collect();
    let gap = windows.rpo(now).worst;
    let result = json!({
        "policy": policy, "revision": record.revision, "updated_at": record.updated_at,
        "next": next, "longest_gap_s": gap.map(|gap| gap.length().as_secs()),
    });
    let text = || {
        // Comments, so that the whole is still a document.
        let mut text = format!("# revision {}", record.revision);
        if let Some(gap) = gap {
            text.push_str(&format!("\n# longest gap between recovery points: {gap}"));
        }
        for occasion in &next {
            text.push_str(&format!("\n# due {}", occasion.due));
            if occasion.windows.is_empty() {
                text.push_str(": left out, a blackout covers it");
            } else {
                text.push_str(&format!(", started until {}", occasion.ends));
            }
        }
        format!("{text}\n{document}")
    };
    let printed = session.output.result("policy", &result, text);
    printed.map_err(print_problem)
}

async fn set(session: &Session, catalog: &Catalog, file: &Path) -> Result<(), Problem> {
    let policy = read(file)?;
    let wrong = policy.validate(Timestamp::now(), &TimeZone::system(), jiff::tz::db());
    wrong.map_err(|errors| invalid(&policy.name, &told(&errors)))?;
    let known = match catalog.policy(&policy.name).await {
        Ok(known) => Some(known),
        Err(error) if matches!(error.kind, CatalogErrorKind::NotFound(_)) => None,
        Err(error) => return Err(Problem::from(&error)),
    };
    let now = Timestamp::now();
    let revision = match known {
        Some(known) if known.policy == policy => Ok(known.revision),
        Some(known) => catalog.update_policy(&policy, known.revision, now).await,
        None => catalog
            .add_policy(&policy, now)
            .await
            .map(|new| new.revision),
    };
    let revision = revision.map_err(|error| Problem::from(&error))?;
    let result = json!({ "policy": policy.name, "revision": revision });
    let text = || format!("Policy {} is set (revision {revision}).", policy.name);
    let printed = session.output.result("policy_set", &result, text);
    printed.map_err(print_problem)
}

fn read(file: &Path) -> Result<Policy, Problem> {
    let name = file.display().to_string();
    let mut text = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin().take(LONGEST).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(LONGEST).read_to_string(&mut text))
    };
    read.map_err(|error| usage(&format!("{name} cannot be read: {error}.")))?;
    toml::from_str(&text).map_err(|error| invalid(&name, error.to_string().trim_end()))
}

fn told(errors: &[PolicyError]) -> String {
    let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
    errors.join("; ")
}

fn invalid(policy: &str, wrong: &str) -> Problem {
    Kind::PolicyInvalid {
        policy: policy.to_owned(),
        wrong: wrong.to_owned(),
    }
    .into()
}

async fn remove(session: &Session, catalog: &Catalog, name: &str) -> Result<(), Problem> {
    let removed = catalog.remove_policy(name).await;
    removed.map_err(|error| Problem::from(&error))?;
    let result = json!({ "policy": name });
    let text = || format!("Policy {name} is removed.");
    let printed = session.output.result("policy_removed", &result, text);
    printed.map_err(print_problem)
}
