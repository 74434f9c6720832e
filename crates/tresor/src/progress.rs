//! Progress on stderr: a bar on a terminal, a plain line now and then elsewhere.

use std::{
    io::IsTerminal as _,
    sync::Mutex,
    time::{Duration, Instant},
};

use indicatif::ProgressBar;
use tresor_api_types::JobNews;
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
        if let Ok(style) = indicatif::ProgressStyle::with_template(
            "{spinner} {prefix}  {bar:30} {percent:>3}%  {msg}",
        ) {
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

    /// How far it is.
    fn show(&self, done: u64, total: Option<u64>, message: &str) {
        let total = total.unwrap_or(done).max(1);
        match self {
            Self::Quiet => {}
            Self::Bar(bar) => {
                bar.set_length(total);
                bar.set_position(done);
                bar.set_message(message.to_owned());
            }
            Self::Lines(last) => {
                let Ok(mut last) = last.lock() else { return };
                if last.elapsed() >= LINE_EVERY {
                    *last = Instant::now();
                    let percent = u128::from(done) * 100 / u128::from(total);
                    note(&format!("  {percent} % {message}"));
                }
            }
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
                    Some(
                        task.ended_at?
                            .duration_since(task.started_at?)
                            .as_secs_f64(),
                    )
                });
                self.line(&format!(
                    "{}: done in {:.1} s",
                    name(sub_task),
                    took.unwrap_or(0.0)
                ));
            }
            JobEvent::Failed { sub_task, problem } => {
                self.line(&format!("{}: failed ({})", name(sub_task), problem.code));
            }
            JobEvent::Undone { sub_task } => self.line(&format!("{}: undone", name(sub_task))),
            JobEvent::UndoFailed { sub_task, problem } => {
                self.line(&format!(
                    "{}: could not be undone: {problem}",
                    name(sub_task)
                ));
            }
            _ => {}
        }
    }

    fn on_progress(&self, _job: JobId, report: &Report) {
        self.show(report.done, report.total, &report.message);
    }
}

/// Shows the progress of a job that is done elsewhere.
#[derive(Debug)]
pub(crate) struct Follower {
    progress: Progress,
    at: Option<String>,
}

impl Follower {
    pub(crate) fn new(progress: Progress) -> Self {
        Self { progress, at: None }
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        self.progress.finish();
    }

    /// What a service says of it.
    pub(crate) fn hear(&mut self, news: &JobNews) {
        let Some(task) = &news.sub_task else { return };
        if self.at.as_ref() != Some(&task.name) {
            match &self.progress {
                Progress::Bar(bar) => {
                    bar.set_prefix(task.name.clone());
                    bar.set_message("");
                    bar.set_position(0);
                }
                other => other.line(&format!("{} …", task.name)),
            }
            self.at = Some(task.name.clone());
        }
        let heard = news.job.progress.as_ref();
        if let Some(heard) = heard.filter(|heard| heard.sub_task == task.index) {
            self.progress
                .show(heard.done_bytes, heard.total_bytes, &heard.message);
        }
    }
}
