//! Paths and queries.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value;

/// A path of fixed parts and names that may be anything.
pub(crate) fn path(parts: &[&str]) -> String {
    let mut path = "/api/v1".to_owned();
    for part in parts {
        path.push('/');
        match *part {
            // As a part of a path they would lead elsewhere, also when they are escaped.
            "." | ".." => path.push_str("%20"),
            part => escape(part, &mut path),
        }
    }
    path
}

/// A query of the members of a document: `?a=1&b=2`, or nothing.
pub(crate) fn query(asked: &impl Serialize) -> String {
    // Structs of strings and numbers: nothing that JSON refuses.
    let members = serde_json::to_value(asked).unwrap_or_default();
    let mut query = String::new();
    for (name, value) in members.as_object().into_iter().flatten() {
        let text = match value {
            Value::Null => continue,
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        query.push(if query.is_empty() { '?' } else { '&' });
        escape(name, &mut query);
        query.push('=');
        escape(&text, &mut query);
    }
    query
}

fn escape(text: &str, into: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            into.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            write!(into, "%{byte:02X}").ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use tresor_api_types::JobQuery;

    use super::*;

    #[test]
    fn names_stay_within_their_part() {
        assert_eq!(path(&["jobs"]), "/api/v1/jobs");
        assert_eq!(
            path(&["policies", "a/../b?c#d é"]),
            "/api/v1/policies/a%2F..%2Fb%3Fc%23d%20%C3%A9"
        );
        assert_eq!(path(&["policies", "..", "x"]), "/api/v1/policies/%20/x");
    }

    #[test]
    fn a_query_has_what_was_asked_for() {
        let asked = JobQuery {
            subject: Some("a&b=c".to_owned()),
            limit: Some(7),
            ..JobQuery::default()
        };
        assert_eq!(query(&asked), "?limit=7&subject=a%26b%3Dc&unfinished=false");
        assert_eq!(query(&()), "");
    }
}
