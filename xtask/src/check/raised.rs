//! Every problem of the catalog is raised through the program by a test, by its real condition.
//!
//! Counted are `raises("Code")` (a command ended with it), `records("Code", …)` (a job shows it as
//! its cause) and `warns("Code", …)` (a job completed with it) in the tests of the program. What no condition of the world can raise is named
//! here, with the reason.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::Result;
use tresor_problem::Kind;

const TESTS: &str = "crates/tresor/tests";

/// The words in front of a code.
const CALLS: [&str; 3] = ["raises(", "records(", "warns("];

/// Codes that no test raises, each with the reason.
const EXEMPT: &[(&str, &str)] = &[
    (
        "Internal",
        "by definition: a condition that raised it would be a defect to be mended",
    ),
    ("ObjectChanged", NO_COMMAND),
    ("RecoveryPointLate", ONLY_ALERT),
    ("HostCertificateExpired", ONLY_LOG),
    ("HostNotEnrolled", ONLY_LOG),
    ("HostKeysUsedUp", ONLY_LOG),
    (
        "HostNameTaken",
        "two hosts must enrol at the same moment under a name that none had",
    ),
    ("LoginRefused", ONLY_PAGE),
    ("IdentityProviderUnusable", ONLY_PAGE),
    ("ServerAnswerUnusable", OTHER_SERVER),
    ("RequestMalformed", NO_SERVER),
    ("RequestTooLarge", NO_SERVER),
    ("RequestTimedOut", NO_SERVER),
    ("RequestKeyReused", NO_SERVER),
    ("RequestInProgress", NO_SERVER),
    ("RevisionNeeded", NO_SERVER),
    ("TooManyRequests", NO_SERVER),
    ("ProtectionStopped", NO_SERVER),
    ("NothingExpires", NO_SERVER),
    ("JobNotHere", NO_HOST),
    (
        "VmVanished",
        "an hour must pass: crates/service/src/whereabouts.rs has the decision's table",
    ),
];

/// The tests of the catalog raise them, and no command can yet.
/// `crates/api/tests` raises them over HTTP.
const NO_COMMAND: &str = "of objects that only the API changes: its own tests raise it";

/// `crates/service` has the table of what is late, and raises it.
const ONLY_ALERT: &str = "no command ends with it: it is an alert, hours after what led to it";

/// `crates/uplink/tests` and `crates/identity/tests` raise them.
const ONLY_LOG: &str =
    "a host that runs goes on dialling: its log has it, and no command ends with it";

/// `crates/tresor/tests/e2e/logins.rs` reads them from the page.
const ONLY_PAGE: &str = "no command logs anybody in: browsers do";

/// `crates/api-client/tests` raises it.
const OTHER_SERVER: &str = "of a server that is none of ours: the client's own tests raise it";

/// `crates/host/tests` raises it.
const NO_HOST: &str = "the service gives no host a job that only it can do";

/// `crates/api/tests` raises them over HTTP.
const NO_SERVER: &str = "of requests to the API: its own tests raise it";

pub(super) fn complaints(root: &Path) -> Result<Vec<String>> {
    let mut raised = BTreeSet::new();
    scan(&root.join(TESTS), &mut raised)?;
    let codes: Vec<_> = Kind::ENTRIES.iter().map(|entry| entry.code).collect();
    let exempt: Vec<_> = EXEMPT.iter().map(|(code, _)| *code).collect();
    Ok(judge(&codes, &exempt, &raised))
}

fn judge(codes: &[&str], exempt: &[&str], raised: &BTreeSet<String>) -> Vec<String> {
    let mut complaints = Vec::new();
    for code in codes {
        match (raised.contains(*code), exempt.contains(code)) {
            (false, false) => complaints.push(format!(
                "no test in {TESTS} raises {code}: add one that does, by its real condition"
            )),
            (true, true) => complaints.push(format!(
                "{code} is raised by a test: take it off the list in {}",
                file!()
            )),
            _ => {}
        }
    }
    for code in exempt.iter().filter(|code| !codes.contains(code)) {
        complaints.push(format!(
            "{code} is no problem any more: take it off the list in {}",
            file!()
        ));
    }
    complaints
}

fn scan(dir: &Path, raised: &mut BTreeSet<String>) -> Result<()> {
    if !dir.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            scan(&path, raised)?;
        } else if path.extension().is_some_and(|end| end == "rs") {
            raised.extend(codes_in(&fs::read_to_string(&path)?));
        }
    }
    Ok(())
}

/// The codes that a test's text asks for; comments do not count.
fn codes_in(text: &str) -> BTreeSet<String> {
    let code: Vec<_> = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect();
    let code = code.join("\n");
    let mut found = BTreeSet::new();
    for call in CALLS {
        for (at, _) in code.match_indices(call) {
            let argument = code[at + call.len()..].trim_start();
            let literal = argument.strip_prefix('"').and_then(|rest| {
                let (literal, _) = rest.split_once('"')?;
                Some(literal.to_owned())
            });
            found.extend(literal);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_found_and_comments_are_not() {
        let text = r#"
            run.raises("A");
            lab.records(
                "B", &job).await;
            // raises("C")
            fn raises(&self, code: &str) {}
        "#;
        let found: Vec<_> = codes_in(text).into_iter().collect();
        assert_eq!(found, ["A", "B"]);
    }

    #[test]
    fn what_is_missing_and_what_is_exempt_for_nothing_is_named() {
        let raised = BTreeSet::from(["A".to_owned(), "B".to_owned()]);
        let judged = |codes: &[&str], exempt: &[&str]| judge(codes, exempt, &raised).len();
        assert_eq!(judged(&["A", "B"], &[]), 0);
        assert_eq!(judged(&["A", "B", "C"], &[]), 1, "C has no test");
        assert_eq!(judged(&["A", "B", "C"], &["C"]), 0);
        assert_eq!(judged(&["A", "B"], &["B"]), 1, "B is raised");
        assert_eq!(judged(&["A"], &["Z"]), 1, "Z is gone");
    }
}
