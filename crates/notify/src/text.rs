//! Plain words for what happened.

use std::fmt::Write as _;

use jiff::Timestamp;

use crate::{Event, EventKind, Message};

const LONGEST_TITLE: usize = 160;
const LONGEST_LINE: usize = 2000;

/// A text as part of one line: what would end it, or turn it around, is a space. Bounded.
#[must_use]
pub fn one_line(text: &str, longest: usize) -> String {
    let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut line: String = text
        .chars()
        .take(longest)
        .map(|c| if c.is_control() || turns(c) { ' ' } else { c })
        .collect();
    if text.chars().nth(longest).is_some() {
        line.push('…');
    }
    line
}

/// A time to the second.
fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

impl Event {
    /// One line.
    #[must_use]
    pub fn title(&self) -> String {
        let subject = one_line(&self.subject, 80);
        let problem = self.problem.as_ref();
        let what = problem.map_or("a problem", |problem| problem.title.as_str());
        let title = match self.kind {
            EventKind::BackupFailed => format!("Backup of {subject} failed: {what}"),
            EventKind::BackupRecovered => format!("Backup of {subject} succeeded again"),
            EventKind::VmLate => format!("{subject} is late: its last recovery point is too old"),
            EventKind::VmOnTime => format!("{subject} is on time again"),
            EventKind::AlertOpened => format!("{subject}: {what}"),
            EventKind::AlertResolved => format!("{subject}: over: {what}"),
            EventKind::Digest => "Tresor: how everything stands".to_owned(),
            EventKind::Test => format!("Tresor: a test of the channel {subject}"),
        };
        one_line(&title, LONGEST_TITLE)
    }

    /// Cause, evidence and remedy, in lines.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("{}\n", self.title());
        let is_over = matches!(
            self.kind,
            EventKind::BackupRecovered | EventKind::VmOnTime | EventKind::AlertResolved
        );
        let mut line = |text_of: &str| {
            text.push_str(&one_line(text_of, LONGEST_LINE));
            text.push('\n');
        };
        line(&format!("When: {}", moment(self.at)));
        if let Some(since) = self.since {
            let word = if is_over { "It lasted since" } else { "Since" };
            line(&format!("{word}: {}", moment(since)));
        }
        for more in &self.lines {
            line(more);
        }
        let Some(problem) = &self.problem else {
            return text;
        };
        let was = if is_over { "What it was" } else { "Cause" };
        line(&format!("{was}: {} [{}]", problem.cause, problem.code));
        if is_over {
            return text;
        }
        for (name, value) in &problem.fields {
            line(&format!("  {name}: {value}"));
        }
        line("What to do:");
        for (step, remedy) in (1..).zip(&problem.remedy) {
            line(&format!("  {step}. {remedy}"));
        }
        text
    }
}

impl Message {
    /// One line.
    #[must_use]
    pub fn title(&self) -> String {
        match self.events() {
            [one] => one.title(),
            [first, rest @ ..] => {
                let title = format!("{} (and {} more)", first.title(), rest.len());
                one_line(&title, LONGEST_TITLE + 20)
            }
            [] => String::new(),
        }
    }

    /// All of it.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (number, event) in self.events().iter().enumerate() {
            let rule = if number == 0 { "" } else { "\n" };
            // Writing to a String cannot fail.
            write!(text, "{rule}{}", event.text()).unwrap_or_default();
        }
        text
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use tresor_model::NotificationId;
    use tresor_problem::{Kind, Problem};

    use super::*;

    pub(crate) const HOSTILE: &str =
        "web\r\nBcc: all@example.org\r\n\r\n<script>alert(1)</script>\u{202e}\"}{title}";

    pub(crate) fn failed(subject: &str) -> Event {
        let kind = Kind::VmNotFound {
            vm: subject.to_owned(),
        };
        Event {
            id: NotificationId::generate(),
            at: "2026-03-02T03:04:05.678Z".parse().unwrap(),
            kind: EventKind::BackupFailed,
            subject: subject.to_owned(),
            problem: Some(Problem::from(kind)),
            since: None,
            lines: Vec::new(),
        }
    }

    #[test]
    fn a_text_has_cause_evidence_and_remedy() {
        let text = failed("web01").text();
        for part in [
            "Backup of web01 failed",
            "2026-03-02 03:04:05 UTC",
            "[VmNotFound]",
            "  vm: web01",
            "  1. ",
        ] {
            assert!(text.contains(part), "{text}");
        }
        let over = Event {
            kind: EventKind::BackupRecovered,
            ..failed("web01")
        };
        assert!(!over.text().contains("What to do"), "{}", over.text());
    }

    #[test]
    fn a_hostile_name_has_no_line_of_its_own() {
        let event = failed(HOSTILE);
        let honest = failed("web01").text().lines().count();
        assert_eq!(event.text().lines().count(), honest);
        assert_eq!(event.title().lines().count(), 1);
        assert!(!event.text().contains(['\r', '\u{202e}']));
        let long = failed(&"x".repeat(100_000));
        assert!(long.title().chars().count() <= LONGEST_TITLE + 1);
        assert!(long.text().len() < 20_000);
    }
}
