//! Findings in words.

use jiff::SignedDuration;
use tresor_backend::{Error, contract::Violation};
use tresor_backend_object::Powers;
use tresor_problem::{Kind, Problem};
use tresor_workflows::storage_problem;

use super::{Finding, Verdict};

/// Requests whose time is further off than 15 minutes are refused by S3; this is well before that.
const CLOCK: SignedDuration = SignedDuration::from_secs(300);

pub(super) fn cells(finding: &Finding) -> Vec<String> {
    let verdict = match finding.verdict {
        Verdict::Good => "good",
        Verdict::Note => "note",
        Verdict::Warning => "warning",
        Verdict::Broken => "BROKEN",
    };
    vec![
        finding.check.clone(),
        verdict.to_owned(),
        finding.evidence.clone(),
    ]
}

/// Whether a host with these credentials may go past the service: as `tresor host --direct` finds out itself.
pub(super) fn powers(found: &Result<Powers, Error>) -> Finding {
    const CHECK: &str = "hosts may reach it directly";
    let (verdict, evidence) = match found {
        Ok(Powers::AppendOnly) => (
            Verdict::Good,
            "to replace and to remove what is there is refused".to_owned(),
        ),
        Ok(Powers::Overwrite) => (
            Verdict::Note,
            "what is there can be replaced: only through the service".to_owned(),
        ),
        Ok(Powers::Delete) => (
            Verdict::Note,
            "what is there can be removed: only through the service".to_owned(),
        ),
        Err(error) => (Verdict::Note, format!("not found out: {error}")),
    };
    Finding::new(CHECK, verdict, evidence)
}

/// The server's clock minus ours, in whole seconds as servers say it.
pub(super) fn clock(difference: Option<SignedDuration>) -> Finding {
    const CHECK: &str = "the server's clock agrees with ours";
    match difference {
        None => Finding::new(CHECK, Verdict::Note, "the server says no time"),
        Some(difference) => {
            let verdict = match difference.abs() > CLOCK {
                true => Verdict::Warning,
                false => Verdict::Good,
            };
            let seconds = difference.as_secs();
            Finding::new(CHECK, verdict, format!("{seconds:+} s"))
        }
    }
}

/// A broken promise, or a store that failed while it was examined: those are told apart, since only
/// the first means that the store must not be used.
pub(super) fn judge(violation: &Violation, location: &str) -> (Finding, Problem) {
    use tresor_backend::ErrorKind::{Denied, Full, Unavailable};
    let text = reason(violation);
    let problem = match violation.cause() {
        Some(error) if matches!(error.kind(), Denied | Full | Unavailable) => {
            storage_problem(error, location)
        }
        _ => Kind::VaultStorageUnfit {
            location: location.to_owned(),
            check: violation.check().to_owned(),
            reason: text.clone(),
        }
        .into(),
    };
    let finding = Finding::new(violation.check(), Verdict::Broken, text);
    (finding, problem)
}

fn reason(violation: &Violation) -> String {
    let said = violation.to_string();
    let prefix = format!("{}: ", violation.check());
    let mut text = said.strip_prefix(&prefix).unwrap_or(&said).to_owned();
    let mut below = std::error::Error::source(violation);
    while let Some(error) = below {
        text = format!("{text}: {error}");
        below = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks() {
        for (seconds, want) in [
            (None, Verdict::Note),
            (Some(0), Verdict::Good),
            (Some(-300), Verdict::Good),
            (Some(301), Verdict::Warning),
            (Some(-3600), Verdict::Warning),
        ] {
            let found = clock(seconds.map(SignedDuration::from_secs));
            assert_eq!(found.verdict, want, "{seconds:?}");
        }
        assert_eq!(clock(Some(SignedDuration::from_secs(-7))).evidence, "-7 s");
    }
}
