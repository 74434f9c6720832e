//! Progress on stderr: a bar on a terminal, a plain line now and then elsewhere.

use std::{
    io::IsTerminal as _,
    sync::Mutex,
    time::{Duration, Instant},
};

use indicatif::ProgressBar;
use tresor_jobs::{JobEvent, JobView, Observer, Progress as Report};
use tresor_model::JobId;

use crate::{args::ProgressStyle, output::note};

/// Plain lines come at most this often.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Shows a job's progress.
#[derive(Debug)]
pub(crate) enum Progress {
    /// Nothing.
    Quiet,
    /// A bar.
    Bar(ProgressBar),
    /// Lines, and when the last one was.
    Lines(Mutex<Instant>),
}

impl Progress {
    /// Chooses by the option, the kind of output, and where stderr goes.
    pub(crate) fn new(style: ProgressStyle, json: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        match style {
            ProgressStyle::None => Self::Quiet,
            ProgressStyle::Auto if json => Self::Quiet,
            ProgressStyle::Auto if terminal => Self::bar(),
            ProgressStyle::Auto | ProgressStyle::Lines => Self::Lines(Mutex::new(Instant::now())),
        }
    }

    fn bar() -> Self {
        let bar = ProgressBar::new(100);
        if let Ok(style) =
            indicatif::ProgressStyle::with_template("{spinner} {prefix}  {bar:30} {percent:>3}%  {msg}")
        {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(120));
        Self::Bar(bar)
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }

    fn line(&self, text: &str) {
        match self {
            Self::Quiet => {}
            Self::Bar(bar) => bar.println(text),
            Self::Lines(_) => note(text),
        }
    }
}

impl Observer for Progress {
    fn on_event(&self, _job: JobId, view: &JobView, event: &JobEvent) {
        let task = |index: &usize| view.sub_tasks.get(*index);
        let name = |index: &usize| task(index).map_or("", |task| task.name.as_str()).to_owned();
        match event {
            JobEvent::Started { sub_task } => {
                if let Self::Bar(bar) = self {
                    bar.set_prefix(name(sub_task));
                    bar.set_message("");
                    bar.set_position(0);
                }
            }
            JobEvent::Succeeded { sub_task, .. } => {
                let took = task(sub_task).and_then(|task| {
                    Some(task.ended_at?.duration_since(task.started_at?).as_secs_f64())
                });
                self.line(&format!("{}: done in {:.1} s", name(sub_task), took.unwrap_or(0.0)));
            }
            JobEvent::Failed { sub_task, problem } => {
                self.line(&format!("{}: failed ({})", name(sub_task), problem.code));
            }
            JobEvent::Undone { sub_task } => self.line(&format!("{}: undone", name(sub_task))),
            JobEvent::UndoFailed { sub_task, problem } => {
                self.line(&format!("{}: could not be undone: {problem}", name(sub_task)));
            }
            _ => {}
        }
    }

    fn on_progress(&self, _job: JobId, report: &Report) {
        let total = report.total.unwrap_or(report.done).max(1);
        match self {
            Self::Quiet => {}
            Self::Bar(bar) => {
                bar.set_length(total);
                bar.set_position(report.done);
                bar.set_message(report.message.clone());
            }
            Self::Lines(last) => {
                let Ok(mut last) = last.lock() else { return };
                if last.elapsed() >= LINE_EVERY {
                    *last = Instant::now();
                    let percent = u128::from(report.done) * 100 / u128::from(total);
                    note(&format!("  {percent} % {}", report.message));
                }
            }
        }
    }
}
