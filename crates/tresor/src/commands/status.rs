//! `tresor status`

use std::collections::BTreeMap;

use jiff::{Timestamp, tz::TimeZone};
use serde_json::{Value, json};
use tresor_catalog::{AlertFilter, AlertRecord, Catalog, ItemFilter, ItemRecord, Page};
use tresor_problem::{Kind, Problem};
use tresor_service::{Outlook, SCHEDULER_LEASE, Standing};

use super::session::{Session, print_problem};
use crate::{args::StatusArgs, output::plain_table};

/// How it all stands.
struct Status {
    /// Until when the process that schedules has said that it lives; `None`: none does.
    serves_until: Option<Timestamp>,
    items: Vec<(ItemRecord, Standing, Option<Timestamp>)>,
    alerts: Vec<AlertRecord>,
}

pub(super) async fn run(args: StatusArgs, session: &Session) -> Result<(), Problem> {
    let catalog = session.catalog().await?;
    let now = Timestamp::now();
    let status = look(&catalog, now).await?;
    if args.check {
        return status.judge(now);
    }
    let printed = session
        .output
        .result("status", &status.value(now), || status.text(now));
    printed.map_err(print_problem)
}

async fn look(catalog: &Catalog, now: Timestamp) -> Result<Status, Problem> {
    let failed = |error: tresor_catalog::CatalogError| Problem::from(&error);
    let lease = catalog.lease(SCHEDULER_LEASE).await.ok();
    let mut outlooks = BTreeMap::new();
    for record in catalog.all_policies().await.map_err(failed)? {
        let name = record.policy.name.clone();
        let outlook = Outlook::new(record.policy, record.revision, &TimeZone::system(), now);
        outlooks.extend(outlook.ok().map(|outlook| (name, outlook)));
    }
    let mut items = Vec::new();
    let all = catalog.all_items(&ItemFilter::default()).await;
    for item in all.map_err(failed)? {
        if let Some(outlook) = outlooks.get(&item.policy) {
            let standing = Standing::of(&item, outlook, now);
            let next = outlook.next_start(&item, now);
            items.push((item, standing, next));
        }
    }
    items.sort_by(|a, b| a.0.vm_name.cmp(&b.0.vm_name));
    let open = AlertFilter {
        open: true,
        ..AlertFilter::default()
    };
    Ok(Status {
        serves_until: lease.map(|lease| lease.until),
        items,
        alerts: catalog
            .alerts(&open, &Page::default())
            .await
            .map_err(failed)?,
    })
}

impl Status {
    fn serves(&self, now: Timestamp) -> bool {
        self.serves_until.is_some_and(|until| until > now)
    }

    /// Those whose next recovery point should be there.
    fn late(&self) -> impl Iterator<Item = &ItemRecord> {
        let late = |(_, standing, _): &&(_, Standing, _)| {
            matches!(standing, Standing::Late { .. } | Standing::Vanished { .. })
        };
        self.items.iter().filter(late).map(|(item, ..)| item)
    }

    /// For monitoring.
    fn judge(&self, now: Timestamp) -> Result<(), Problem> {
        if !self.serves(now) {
            let since = self
                .serves_until
                .map_or("(never)".to_owned(), |until| until.to_string());
            return Err(Kind::ServiceDown { since }.into());
        }
        let mut at_risk: Vec<_> = self.late().map(|item| item.vm_name.clone()).collect();
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
        let items = self.items.iter().map(|(item, standing, next)| {
            json!({
                "vm": item.vm_name, "policy": item.policy, "vault": item.vault,
                "standing": standing, "last_point_at": item.memory.last_point_at,
                "next_start": next, "attempt": item.memory.attempt,
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
            for (item, standing, next) in &self.items {
                table.add_row(row(item, standing, *next, now));
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

fn row(
    item: &ItemRecord,
    standing: &Standing,
    next: Option<Timestamp>,
    now: Timestamp,
) -> Vec<String> {
    let point = item.memory.last_point_at;
    vec![
        item.vm_name.clone(),
        item.policy.clone(),
        point.map_or("none".to_owned(), |point| {
            format!("{} ago", ago(point, now))
        }),
        match standing {
            Standing::Fresh => "fresh".to_owned(),
            Standing::Waiting => "waits for its first".to_owned(),
            Standing::Late { since } => format!("LATE by {}", ago(*since, now)),
            Standing::Vanished { since } => format!("VANISHED {} ago", ago(*since, now)),
            Standing::Stopped => "stopped".to_owned(),
        },
        next.map_or("-".to_owned(), |next| {
            next.to_zoned(TimeZone::system())
                .strftime("%a %H:%M")
                .to_string()
        }),
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
