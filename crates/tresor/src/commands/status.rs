//! `tresor status`

use jiff::{Timestamp, tz::TimeZone};
use serde_json::{Value, json};
use tresor_api_client::Client;
use tresor_api_types::{AlertQuery, AlertView, ItemQuery, ItemView, Standing};
use tresor_problem::{Kind, Problem};

use super::session::{Session, print_problem};
use crate::{args::StatusArgs, output::plain_table};

/// More alerts are not looked at.
const MOST_ALERTS: usize = 500;

/// How it all stands.
struct Status {
    /// Until when the process that schedules has said that it lives; `None`: none does.
    serves_until: Option<Timestamp>,
    items: Vec<ItemView>,
    alerts: Vec<AlertView>,
}

pub(super) async fn run(args: StatusArgs, session: &Session) -> Result<(), Problem> {
    let client = session.client().await?;
    let status = look(&client).await?;
    let now = Timestamp::now();
    if args.check {
        return status.judge(now);
    }
    let printed = session
        .output
        .result("status", &status.value(now), || status.text(now));
    printed.map_err(print_problem)
}

async fn look(client: &Client) -> Result<Status, Problem> {
    let serves_until = client.status().await?.scheduled_until;
    let asked = ItemQuery {
        limit: Some(500),
        ..ItemQuery::default()
    };
    let mut items = client.items(&asked).all().await?;
    items.sort_by(|a, b| a.name.cmp(&b.name));
    let asked = AlertQuery {
        open: true,
        ..AlertQuery::default()
    };
    Ok(Status {
        serves_until,
        items,
        alerts: client.alerts(&asked).first(MOST_ALERTS).await?,
    })
}

impl Status {
    fn serves(&self, now: Timestamp) -> bool {
        self.serves_until.is_some_and(|until| until > now)
    }

    /// Those whose next recovery point should be there.
    fn late(&self) -> impl Iterator<Item = &ItemView> {
        let late =
            |item: &&ItemView| matches!(item.standing, Some(Standing::Late | Standing::Vanished));
        self.items.iter().filter(late)
    }

    /// For monitoring.
    fn judge(&self, now: Timestamp) -> Result<(), Problem> {
        if !self.serves(now) {
            let since = self
                .serves_until
                .map_or("(never)".to_owned(), |until| until.to_string());
            return Err(Kind::ServiceDown { since }.into());
        }
        let mut at_risk: Vec<_> = self.late().map(|item| item.name.clone()).collect();
        at_risk.extend(self.alerts.iter().map(|alert| alert.subject.clone()));
        at_risk.sort();
        at_risk.dedup();
        if at_risk.is_empty() {
            return Ok(());
        }
        let (count, vms) = (at_risk.len().to_string(), at_risk.join(", "));
        Err(Kind::ProtectionAtRisk { count, vms }.into())
    }

    fn value(&self, now: Timestamp) -> Value {
        let items = self.items.iter().map(|item| {
            json!({
                "vm": item.name, "policy": item.policy, "vault": item.vault,
                "standing": item.standing, "since": since(item),
                "last_point_at": item.last_point_at, "next_start": item.next_start_at,
            })
        });
        let alerts = self.alerts.iter().map(|alert| {
            json!({
                "subject": alert.subject, "problem": alert.problem, "since": alert.since,
                "times": alert.count,
            })
        });
        json!({
            "serves": self.serves(now), "items": items.collect::<Vec<_>>(),
            "alerts": alerts.collect::<Vec<_>>(),
        })
    }

    fn text(&self, now: Timestamp) -> String {
        let mut text = match (self.serves(now), self.serves_until) {
            (true, _) => "The service runs.".to_owned(),
            (false, Some(until)) => {
                format!("The service does NOT run, since {until}: nothing is backed up by itself.")
            }
            (false, None) => {
                "The service has not run yet: start it with `tresor serve`.".to_owned()
            }
        };
        let late = self.late().count();
        text.push_str(&format!(
            " {} protected, {late} late, {} alerts.",
            self.items.len(),
            self.alerts.len()
        ));
        if !self.items.is_empty() {
            let mut table = plain_table(&[
                "VM",
                "policy",
                "last recovery point",
                "stands",
                "next start",
            ]);
            for item in &self.items {
                table.add_row(row(item, now));
            }
            text.push_str(&format!("\n{table}"));
        }
        for alert in &self.alerts {
            text.push_str(&format!(
                "\n{} since {}: {} [{}]",
                alert.subject, alert.since, alert.problem.cause, alert.problem.code
            ));
            for remedy in &alert.problem.remedy {
                text.push_str(&format!("\n  - {remedy}"));
            }
        }
        text
    }
}

/// Since when it is late, or not found.
fn since(item: &ItemView) -> Option<Timestamp> {
    match item.standing? {
        Standing::Late => item.late_since,
        Standing::Vanished => item.gone_since,
        Standing::Fresh | Standing::Waiting | Standing::Stopped => None,
    }
}

fn row(item: &ItemView, now: Timestamp) -> Vec<String> {
    let since = since(item).map_or("?".to_owned(), |since| ago(since, now));
    let standing = match item.standing {
        Some(Standing::Fresh) => "fresh".to_owned(),
        Some(Standing::Waiting) => "waits for its first".to_owned(),
        Some(Standing::Late) => format!("LATE by {since}"),
        Some(Standing::Vanished) => format!("VANISHED {since} ago"),
        Some(Standing::Stopped) => "stopped".to_owned(),
        None => "its policy cannot be asked".to_owned(),
    };
    let point = item.last_point_at;
    let start = item.next_start_at.map(|next| {
        let next = next.to_zoned(TimeZone::system());
        next.strftime("%a %H:%M").to_string()
    });
    vec![
        item.name.clone(),
        item.policy.clone(),
        point.map_or("none".to_owned(), |point| {
            format!("{} ago", ago(point, now))
        }),
        standing,
        start.unwrap_or("-".to_owned()),
    ]
}

/// A time span in its two largest units.
fn ago(from: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(from).as_secs().max(0);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes}m"),
        (0, _) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}
