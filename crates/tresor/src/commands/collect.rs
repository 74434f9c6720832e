//! `tresor collect`

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use serde_json::json;
use tresor_host::absolute;
use tresor_problem::{Kind, Problem};
use tresor_vault::{CollectChoice, CollectOptions, CollectReport, CollectStep, Collected};
use tresor_workflows::vault_problem;

use super::{
    asked, open,
    session::{Session, print_problem},
};
use crate::{
    args::{CollectArgs, SESSION_AGE},
    output::{bytes, note},
};

/// Lines of one step come at most this often.
const LINE_EVERY: Duration = Duration::from_secs(10);

pub(super) async fn run(args: CollectArgs, session: &Session) -> Result<(), Problem> {
    if session.is_remote()? {
        return asked::collect(session, &args).await;
    }
    let catalog = session.catalog().await?;
    let vault = open::vault(&catalog, &args.access).await?;
    let options = CollectOptions {
        min_gain: args.min_gain,
        margin: args.abort_sessions_older_than.unwrap_or(SESSION_AGE),
        wait: args.wait.unwrap_or(Duration::MAX),
        ..CollectOptions::default()
    };
    let lines = Lines::new(session.is_quiet());
    let failed = |error| vault_problem(&error, vault.location());
    // What is moved is read on the way, and not again by the next backup from here.
    vault.remember_in(&absolute(&session.state()?.index_cache()));
    if args.dry_run {
        let choice = vault.plan_collect(&options, |step| lines.step(&step)).await;
        let choice = choice.map_err(failed)?;
        return session
            .output
            .result("collect_plan", &choice, || plan_text(&choice))
            .map_err(print_problem);
    }
    // Dropping it is safe at any point; the next collect goes on.
    let collected = tokio::select! {
        collected = vault.collect(&options, |step| lines.step(&step)) => collected.map_err(failed)?,
        () = session.cancelled() => {
            let what = "The collect".to_owned();
            return Err(Kind::Interrupted { what }.into());
        }
    };
    let usage = vault.usage().await.map_err(failed)?;
    let result = json!({
        "resumed": collected.resumed, "plan": collected.choice, "collected": collected.collected,
        "finished": waiting(&collected).is_none(),
        "stored_bytes": usage.bytes, "objects": usage.objects,
    });
    session
        .output
        .result("collect", &result, || text(&collected, usage.bytes))
        .map_err(print_problem)
}

/// The plan that waits for sessions.
fn waiting(report: &CollectReport) -> Option<&Collected> {
    let mut plans = report.resumed.iter().chain(&report.collected);
    plans.find(|plan| !plan.waiting.is_empty())
}

fn plan_text(choice: &CollectChoice) -> String {
    if choice.is_empty() {
        return format!(
            "Nothing to free: all {} packs ({}) are in use.",
            choice.packs,
            bytes(choice.bytes)
        );
    }
    let mut text = format!(
        "Of {} packs ({}), used by {} recovery points:\n  \
         delete {} packs that nothing uses ({})\n  \
         rewrite {} packs ({}), of which {} are in use\n  \
         remove {} sessions that expired or were aborted\n  \
         frees about {}",
        choice.packs,
        bytes(choice.bytes),
        choice.points,
        choice.dead_packs,
        bytes(choice.dead_bytes),
        choice.sparse_packs,
        bytes(choice.sparse_bytes),
        bytes(choice.moved_bytes),
        choice.sessions,
        bytes(choice.freed_bytes()),
    );
    if choice.busy_packs > 0 {
        let line = format!("\n  leaves {} packs of backups that run", choice.busy_packs);
        text.push_str(&line);
    }
    if choice.damaged_packs > 0 {
        let line = format!("\n  leaves {} packs that are damaged", choice.damaged_packs);
        text.push_str(&line);
    }
    text
}

fn text(report: &CollectReport, stored: u64) -> String {
    if let Some(plan) = waiting(report) {
        return format!(
            "Plan {} waits for {} backups that began before it; the next `tresor collect` goes on.",
            plan.number,
            plan.waiting.len()
        );
    }
    let done: Vec<&Collected> = report.resumed.iter().chain(&report.collected).collect();
    let freed = done.iter().map(|plan| plan.deleted_bytes).sum();
    let packs: u64 = done.iter().map(|plan| plan.deleted_packs).sum();
    if done.is_empty() {
        return report.choice.as_ref().map_or_else(String::new, plan_text);
    }
    let mut text = format!(
        "{packs} packs ({}) were deleted; the vault takes {} now.",
        bytes(freed),
        bytes(stored)
    );
    let held: u64 = done.iter().map(|plan| plan.held_packs).sum();
    if held > 0 {
        let line =
            format!("\n{held} packs are held by the storage, and stay until it lets them go.");
        text.push_str(&line);
    }
    text
}

/// Progress on stderr, a line now and then.
struct Lines {
    quiet: bool,
    last: Mutex<Option<Instant>>,
}

impl Lines {
    fn new(quiet: bool) -> Self {
        Self {
            quiet,
            last: Mutex::new(None),
        }
    }

    fn step(&self, step: &CollectStep) {
        if self.quiet {
            return;
        }
        match step {
            CollectStep::Resumes { number } => {
                note(&format!(
                    "going on with plan {number}, which was not finished"
                ));
            }
            CollectStep::Chosen(choice) => note(&plan_text(choice)),
            CollectStep::Walks { done, total } => {
                self.now_and_then(&format!("  {done} of {total} sessions looked through"));
            }
            CollectStep::Moves { done, total } => {
                self.now_and_then(&format!("  {done} of {total} packs rewritten"));
            }
            CollectStep::Deletes { done, total } => {
                self.now_and_then(&format!("  {done} of {total} packs deleted"));
            }
            CollectStep::Waits { sessions } => {
                let count = sessions.len();
                self.now_and_then(&format!(
                    "  waits for {count} backups that began before the plan"
                ));
            }
            _ => {}
        }
    }

    fn now_and_then(&self, line: &str) {
        let Ok(mut last) = self.last.lock() else {
            return;
        };
        if last.is_none_or(|last| last.elapsed() >= LINE_EVERY) {
            *last = Some(Instant::now());
            note(line);
        }
    }
}
