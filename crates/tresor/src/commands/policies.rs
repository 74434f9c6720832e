//! `tresor policies …`

use std::{io::Read as _, path::Path};

use jiff::{Timestamp, tz::TimeZone};
use serde_json::json;
use tresor_api_client::Client;
use tresor_api_types::{PageQuery, PolicyView};
use tresor_host::{internal, usage};
use tresor_policy::Policy;
use tresor_problem::{Kind, Problem};

use super::session::{Session, print_problem};
use crate::args::PoliciesCommand;

/// Larger documents are refused.
const LONGEST: u64 = 1 << 20;

/// How many of the next occasions are shown.
const NEXT: usize = 5;

pub(super) async fn run(command: PoliciesCommand, session: &Session) -> Result<(), Problem> {
    let client = session.client().await?;
    match command {
        PoliciesCommand::List => list(session, &client).await,
        PoliciesCommand::Show { name } => show(session, &client, &name).await,
        PoliciesCommand::Set { file } => set(session, &client, &file).await,
        PoliciesCommand::Remove { name } => remove(session, &client, &name).await,
    }
}

/// The zone of schedules that name none: the service's, where it has a name.
pub(super) async fn zone(client: &Client) -> Result<TimeZone, Problem> {
    let zone = client.status().await?.zone;
    let zone = zone.and_then(|zone| TimeZone::get(&zone).ok());
    Ok(zone.unwrap_or_else(TimeZone::system))
}

async fn list(session: &Session, client: &Client) -> Result<(), Problem> {
    let policies = client.policies(&PageQuery::default()).all().await?;
    let zone = zone(client).await?;
    let rows = policies.iter().map(|policy| summary(policy, &zone));
    let rows: Vec<_> = rows.collect::<Result<_, _>>()?;
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

fn summary(record: &PolicyView, zone: &TimeZone) -> Result<serde_json::Value, Problem> {
    let policy = &record.policy;
    let due = policy.schedules.iter().map(|it| it.calendar.to_string());
    let gap = windows(policy, zone)?.rpo(Timestamp::now()).worst;
    Ok(json!({
        "name": policy.name, "revision": record.revision,
        "due": due.collect::<Vec<_>>().join("; "),
        "longest_gap": gap.map(|gap| gap.to_string()),
        "longest_gap_s": gap.map(|gap| gap.length().as_secs()),
    }))
}

fn windows(policy: &Policy, zone: &TimeZone) -> Result<tresor_policy::windows::Windows, Problem> {
    let windows = policy.windows(zone, jiff::tz::db());
    windows.map_err(|error| invalid(&policy.name, &error.to_string()))
}

async fn show(session: &Session, client: &Client, name: &str) -> Result<(), Problem> {
    let record = client.policy(name).await?;
    let policy = &record.policy;
    let document = toml::to_string(policy)
        .map_err(|error| internal(format!("The policy has no TOML: {error}.")))?;
    let windows = windows(policy, &zone(client).await?)?;
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

async fn set(session: &Session, client: &Client, file: &Path) -> Result<(), Problem> {
    let policy = read(file)?;
    let known = match client.policy(&policy.name).await {
        Ok(known) => Some(known),
        Err(problem) if problem.is("ObjectNotFound") => None,
        Err(problem) => return Err(problem),
    };
    let revision = match known {
        Some(known) if known.policy == policy => known.revision,
        known => {
            let replaced = known.map(|known| known.revision);
            client.set_policy(&policy, replaced).await?.revision
        }
    };
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

fn invalid(policy: &str, wrong: &str) -> Problem {
    Kind::PolicyInvalid {
        policy: policy.to_owned(),
        wrong: wrong.to_owned(),
    }
    .into()
}

async fn remove(session: &Session, client: &Client, name: &str) -> Result<(), Problem> {
    client.remove_policy(name).await?;
    let result = json!({ "policy": name });
    let text = || format!("Policy {name} is removed.");
    let printed = session.output.result("policy_removed", &result, text);
    printed.map_err(print_problem)
}
