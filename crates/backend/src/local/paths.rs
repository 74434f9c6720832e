//! Paths below the root, as texts: no file system is asked here.

use crate::ObjectName;

/// The directory that a path is in; `""` is the root.
pub(super) fn parent_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}

/// The directories from below the root down to `dir` itself: `a`, `a/b`, `a/b/c`.
pub(super) fn ancestors(dir: &str) -> impl Iterator<Item = &str> {
    let inner = dir.match_indices('/').map(move |(at, _)| &dir[..at]);
    inner.chain((!dir.is_empty()).then_some(dir))
}

/// The directory where names beginning with `prefix` start to branch, if names can begin so:
/// a prefix such as `../x` is no way out of the root.
pub(super) fn plan_walk(prefix: &str) -> Option<String> {
    let dir = parent_of(prefix);
    // A prefix that starts with `/` has the root as its parent; nothing there matches it.
    (dir.is_empty() || ObjectName::new(dir).is_ok()).then(|| dir.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_split() {
        assert_eq!(parent_of("a/b/c"), "a/b");
        assert_eq!(parent_of("a"), "");
        assert_eq!(
            ancestors("a/b/c").collect::<Vec<_>>(),
            ["a", "a/b", "a/b/c"]
        );
        assert_eq!(ancestors("").count(), 0);
    }

    #[test]
    fn a_prefix_never_leads_out() {
        for (prefix, want) in [
            ("", Some("")),
            ("pa", Some("")),
            ("packs/", Some("packs")),
            ("packs/0a/0", Some("packs/0a")),
            ("../x", None),
            ("/etc/x", None),
            ("a/../x", None),
            (".tmp/", None),
            ("a//", None),
        ] {
            assert_eq!(plan_walk(prefix).as_deref(), want, "{prefix}");
        }
    }
}
