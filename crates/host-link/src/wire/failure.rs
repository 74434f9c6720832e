//! How errors travel: as the code and the fields of a failure.

use std::collections::BTreeMap;

use tresor_jobs::{LogError, LogErrorKind};
use tresor_link_proto::{Failure, failures};
use tresor_problem::{ExitClass, Fault, Problem, Retry};

/// No such job, or it is another lane's.
const NOT_FOUND: &str = "jobs.not-found";
/// Another job has the lock key. Field `holder`.
const BUSY: &str = "jobs.busy";
/// The lease is over, or the job does not wait. Field `yours`, see [`Mark`].
const LEASE_LOST: &str = "jobs.lease-lost";
/// The log cannot be used now.
const UNUSABLE: &str = "jobs.unusable";
/// The rules. Field `why`.
const REFUSED: &str = "host.refused";

/// The field in which a whole problem travels.
const PROBLEM: &str = "problem";
/// What is left of a failure's 64 KiB when its text and its own fields are in it.
const PROBLEM_LIMIT: usize = 24 << 10;
/// Most bytes of a text in a failure.
const TEXT: usize = 512;

/// What a refused claim or take-over says besides: the one who asks has the job, under this number. It
/// asked before, and the answer was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The lease's number.
    pub yours: u64,
}

/// A refusal by the rules, with its word.
#[must_use]
pub fn refused(why: &str, text: &str) -> Failure {
    let mut failure = Failure::new(REFUSED, cut(text));
    failure.fields.insert("why".to_owned(), why.to_owned());
    failure
}

/// An error of a job log.
#[must_use]
pub fn failure_of_log(error: &LogError, mark: Option<Mark>) -> Failure {
    let code = match error.kind {
        LogErrorKind::NotFound => NOT_FOUND,
        LogErrorKind::Busy { .. } => BUSY,
        LogErrorKind::LeaseLost => LEASE_LOST,
        _ => UNUSABLE,
    };
    // What lies below, and the place of an unusable log, may tell where the service keeps it.
    let (text, context) = match error.kind {
        LogErrorKind::NotFound | LogErrorKind::Busy { .. } | LogErrorKind::LeaseLost => {
            (error.to_string(), error.context.clone())
        }
        _ => (
            "the service's job log cannot be used now".to_owned(),
            String::new(),
        ),
    };
    let mut failure = Failure::new(code, cut(&text));
    let fields = &mut failure.fields;
    fields.insert("context".to_owned(), cut(&context).to_owned());
    if let LogErrorKind::Busy { holder } = &error.kind {
        fields.insert("holder".to_owned(), holder.to_string());
    }
    if let Some(mark) = mark {
        fields.insert("yours".to_owned(), mark.yours.to_string());
    }
    failure
}

/// What a failure says besides its code.
#[must_use]
pub fn mark_of(failure: &Failure) -> Option<Mark> {
    let yours = failure.fields.get("yours")?.parse().ok()?;
    (failure.code == LEASE_LOST).then_some(Mark { yours })
}

/// The error of a job log that a failure is. One that this program does not know says nothing of the
/// job.
#[must_use]
pub fn log_error_of(failure: &Failure) -> LogError {
    let context = failure.fields.get("context").cloned().unwrap_or_default();
    let holder = failure.fields.get("holder");
    let holder = holder.and_then(|holder| holder.parse().ok());
    let kind = match (failure.code.as_str(), holder) {
        (NOT_FOUND, _) => LogErrorKind::NotFound,
        (BUSY, Some(holder)) => LogErrorKind::Busy { holder },
        (LEASE_LOST, _) => LogErrorKind::LeaseLost,
        _ => {
            let said = format!("{} ({})", failure.text, failure.code);
            return LogError::new(LogErrorKind::Unusable, super::PLACE).caused_by(said);
        }
    };
    LogError::new(kind, context)
}

/// A problem, whole: its text is the one of the program that found it.
#[must_use]
pub fn failure_of_problem(problem: &Problem) -> Failure {
    let mut failure = Failure::new(&problem.code, cut(&problem.cause));
    let mut sent = problem.clone();
    let mut whole = serde_json::to_string(&sent).unwrap_or_default();
    if whole.len() > PROBLEM_LIMIT {
        sent.detail = vec!["what lies below is too long to be sent".to_owned()];
        sent.fields = BTreeMap::new();
        whole = serde_json::to_string(&sent).unwrap_or_default();
    }
    if whole.len() <= PROBLEM_LIMIT {
        failure.fields.insert(PROBLEM.to_owned(), whole);
    }
    failure
}

/// The problem that a failure is. One of a newer service is as it says; one that cannot be read is a
/// problem all the same, with the failure's code and text.
#[must_use]
pub fn problem_of(failure: &Failure) -> Problem {
    let whole = failure.fields.get(PROBLEM);
    let whole = whole.and_then(|whole| serde_json::from_str::<Problem>(whole).ok());
    if let Some(problem) = whole.filter(|problem| problem.code == failure.code) {
        return problem;
    }
    let older = matches!(
        failure.code.as_str(),
        failures::METHOD_UNKNOWN | failures::HEAD_MALFORMED
    );
    let fields = failure.fields.iter().filter(|(name, _)| *name != PROBLEM);
    Problem {
        code: failure.code.clone(),
        title: "The service refused".to_owned(),
        cause: format!("The service answered: {}.", failure.text.trim_end_matches('.')),
        remedy: vec![
            "Install releases of Tresor on both sides that are at most one version apart, the service's first."
                .to_owned(),
            "Look at the service's log of that time.".to_owned(),
        ],
        retry: if older { Retry::AfterRemedy } else { Retry::Helps },
        fault: Fault::Host,
        exit: ExitClass::Failure,
        fields: fields.map(|(name, value)| (name.clone(), value.clone())).collect(),
        detail: Vec::new(),
    }
}

/// Cuts a text to [`TEXT`] bytes.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT)]
}

#[cfg(test)]
mod tests {
    use tresor_model::JobId;
    use tresor_problem::Kind;

    use super::*;

    fn over_the_wire(failure: &Failure) -> Failure {
        Failure::decode(&failure.encode().unwrap()).unwrap()
    }

    #[test]
    fn every_error_of_a_log_comes_back() {
        let holder = JobId::generate();
        for kind in [
            LogErrorKind::NotFound,
            LogErrorKind::Busy { holder },
            LogErrorKind::LeaseLost,
        ] {
            let error = LogError::new(kind.clone(), "web01");
            let back = log_error_of(&over_the_wire(&failure_of_log(&error, None)));
            assert_eq!((back.kind, back.context.as_str()), (kind, "web01"));
        }
        let error = LogError::new(LogErrorKind::Unusable, "/var/lib/tresor/catalog.db");
        let failure = failure_of_log(&error, None);
        assert!(!failure.text.contains("/var"), "{failure:?}");
        assert_eq!(log_error_of(&failure).kind, LogErrorKind::Unusable);
        let new = Failure::new("jobs.new", "something new");
        let new = log_error_of(&new);
        assert_eq!(new.kind, LogErrorKind::Unusable);
        assert!(
            Problem::from(&new).cause.contains("something new"),
            "{new:?}"
        );
    }

    #[test]
    fn a_mark_is_of_a_lost_lease() {
        let error = LogError::new(LogErrorKind::LeaseLost, "job");
        let mark = Mark { yours: 7 };
        let failure = failure_of_log(&error, Some(mark));
        assert_eq!(mark_of(&over_the_wire(&failure)), Some(mark));
        assert_eq!(mark_of(&failure_of_log(&error, None)), None);
        let other = LogError::new(LogErrorKind::NotFound, "job");
        assert_eq!(mark_of(&failure_of_log(&other, Some(mark))), None);
    }

    #[test]
    fn a_problem_comes_back_whole() {
        let kind = Kind::VmNotFound {
            vm: "web01".to_owned(),
        };
        let below = std::io::Error::other("what lies below");
        let problem = Problem::caused_by(kind, &below);
        let failure = over_the_wire(&failure_of_problem(&problem));
        assert_eq!(failure.code, "VmNotFound");
        assert_eq!(problem_of(&failure), problem);
        let long = Problem {
            detail: vec!["long".repeat(100_000)],
            ..problem.clone()
        };
        let back = problem_of(&over_the_wire(&failure_of_problem(&long)));
        assert_eq!((back.code, back.cause), (problem.code, problem.cause));
    }

    #[test]
    fn what_a_newer_service_says_is_a_problem() {
        let kind = Kind::VmNotFound {
            vm: "web01".to_owned(),
        };
        let problem = Problem::from(kind);
        let newer = Problem {
            code: "VmOnTheMoon".to_owned(),
            ..problem.clone()
        };
        assert_eq!(problem_of(&failure_of_problem(&newer)), newer);
        // With a member's value that this program does not know.
        let mut failure = failure_of_problem(&newer);
        let whole = failure.fields.get_mut(PROBLEM).unwrap();
        *whole = whole.replace("\"retry\":\"", "\"retry\":\"never_ever_");
        let read = problem_of(&failure);
        assert_eq!(read.code, "VmOnTheMoon");
        assert!(
            read.cause.contains(problem.cause.trim_end_matches('.')),
            "{read:?}"
        );
        let unknown = Failure::new(failures::METHOD_UNKNOWN, "there is no method \"host.moon\"");
        let read = problem_of(&unknown);
        assert!(read.cause.contains("host.moon"), "{read:?}");
        assert_eq!(read.retry, Retry::AfterRemedy);
    }
}
