//! The pages in `docs/problems/`, made from the catalog by `cargo xtask check --write`.

use crate::{Entry, Fault, Kind, Retry};

/// The page of one problem, in Markdown.
#[must_use]
pub fn page(entry: &Entry) -> String {
    let retry = match entry.retry {
        Retry::Helps => "yes",
        Retry::AfterRemedy => "only after the remedy",
        Retry::Never => "no",
    };
    let mut text = format!(
        "<!-- made by `cargo xtask check --write` from crates/problem: do not edit -->\n\
         # {code}: {title}\n\n\
         **Cause.** {cause}\n\n\
         **Does a retry help?** {retry}. **Who can fix it?** {fault}. \
         **Exit code:** {exit}.\n\n\
         ## What to do\n",
        code = entry.code,
        title = entry.title,
        cause = entry.cause,
        fault = fault(entry.fault),
        exit = entry.exit.code(),
    );
    for (step, remedy) in (1..).zip(entry.remedy) {
        text.push_str(&format!("{step}. {remedy}\n"));
    }
    text
}

/// The table of all problems, in Markdown.
#[must_use]
pub fn index_page() -> String {
    let mut text = String::from(
        "<!-- made by `cargo xtask check --write` from crates/problem: do not edit -->\n\
         # Problems\n\n\
         Every failure that Tresor shows has one of these codes.\n\n\
         | code | what | exit code |\n| --- | --- | --- |\n",
    );
    for entry in Kind::ENTRIES {
        let (code, title, exit) = (entry.code, entry.title, entry.exit.code());
        text.push_str(&format!("| [{code}]({code}.md) | {title} | {exit} |\n"));
    }
    text
}

fn fault(fault: Fault) -> &'static str {
    match fault {
        Fault::Usage => "you, in how Tresor is called",
        Fault::Guest => "the guest's administrator",
        Fault::Host => "the host's administrator",
        Fault::Storage => "the owner of the vault's storage",
        Fault::Tresor => "Tresor's developers",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_has_text_and_a_remedy() {
        for entry in Kind::ENTRIES {
            assert!(
                !entry.title.is_empty() && !entry.cause.is_empty(),
                "{}",
                entry.code
            );
            assert!(
                entry.remedy.iter().all(|step| !step.is_empty()),
                "{}",
                entry.code
            );
            assert!(page(entry).contains(entry.code));
        }
    }

    #[test]
    fn codes_are_unique() {
        let mut codes: Vec<_> = Kind::ENTRIES.iter().map(|entry| entry.code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), Kind::ENTRIES.len());
    }

    #[test]
    fn text_carries_the_details() {
        let kind = Kind::VaultNotFound {
            location: "/srv/vault".into(),
        };
        assert_eq!(
            kind.cause(),
            "/srv/vault holds no vault: its header object `vault` is missing."
        );
        assert!(kind.remedy()[1].ends_with("`tresor vault create /srv/vault`."));
    }
}
