//! docs/damage.md, made from what the matrix expects. Set `TRESOR_WRITE_DOCS` to bring it up to date.

use std::path::Path;

use crate::expected::{expected, reason};
use crate::inflict::DAMAGES;
use crate::kinds::KINDS;
use crate::observe::{OPERATIONS, Verdict};

const HEAD: &str = "\
# Damage: what is found, by whom

Made by the tests of the damage matrix (`crates/vault/tests/damage`), which damage one object of a
vault of six recovery points in each way, run each operation, and compare. Whatever the damage: no
operation gives out wrong content, and the other points restore byte by byte, but where nothing
opens because a key or the header is gone.

**named**: the operation says that something is wrong and names the object. **told**: it says that
something is wrong, but not which object. **right**: it does what it does in a whole vault.
*unseen*: it does something else than in a whole vault and cannot know. For a backup, *unseen*
means that the new point rests on the damage as well.

A *swap* puts a good object of the same kind in its place: a later session's, or, for what a vault
has once, another vault's. A *replay* puts an older one there: an earlier session's, or an earlier
vault's with the same id and key. What an older state of the *whole* storage does is in the
[threat model](format/threat-model.md).

*Check* is `tresor check` without a key: it reads no pack, and of an index run only the public part. What
is damaged in the rest is as right to it as to a list; [verifying](verifying.md) finds it.
";

const fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Named => "named",
        Verdict::Told => "told",
        Verdict::Right => "right",
        Verdict::Unseen => "*unseen*",
    }
}

fn table() -> String {
    let mut text = HEAD.to_owned();
    for kind in KINDS {
        text += &format!("\n## {}\n\n| damage |", kind.words());
        for operation in OPERATIONS {
            text += &format!(" {} |", operation.words());
        }
        text += " because |\n|---|";
        text += &"---|".repeat(OPERATIONS.len() + 1);
        text.push('\n');
        for damage in DAMAGES {
            text += &format!("| {} |", damage.words());
            for verdict in expected(kind, damage) {
                text += &format!(" {} |", word(verdict));
            }
            text += &format!(" {} |\n", reason(kind, damage));
        }
    }
    text
}

#[test]
fn the_page_is_current() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/damage.md");
    if std::env::var_os("TRESOR_WRITE_DOCS").is_some() {
        std::fs::write(&page, table()).unwrap();
    }
    let there = std::fs::read_to_string(&page).unwrap_or_default();
    assert!(
        there == table(),
        "docs/damage.md is not current: run `TRESOR_WRITE_DOCS=1 cargo nextest run -p tresor-vault --test damage`"
    );
}
