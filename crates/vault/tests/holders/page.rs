//! docs/holders.md, made from what is expected. Set `TRESOR_WRITE_DOCS` to bring it up to date.

use std::path::{Path, PathBuf};

use crate::expected::{expected, reason};
use crate::holder::{ABILITIES, HOLDERS};

const HEAD: &str = "\
# Who holds what, and what follows

Made by the tests of the holders (`crates/vault/tests/holders`): each holder tries each thing on a
vault of two domains, and what comes of it is compared with this page. The reasons behind it are in
the [threat model](format/threat-model.md); how to make and use keys is in [keys](keys.md).

**can**: it works. *in its domain*: it works for what is of the holder's own domain, and not for the
rest. *seen*: something comes of it, and whoever lists or verifies sees that it is wrong. *cannot*:
it does not work. Holders of keys are taken to have the storage's full credentials as well, as hosts
have; storage that neither replaces nor deletes takes the changes away from them.
";

fn words() -> String {
    let mut text = HEAD.to_owned();
    text += "\n| |";
    for ability in ABILITIES {
        text += &format!(" {} |", ability.words());
    }
    text += "\n|---|";
    text += &"---|".repeat(ABILITIES.len());
    text.push('\n');
    for holder in HOLDERS {
        text += &format!("| {} |", holder.words());
        for ability in ABILITIES {
            text += &format!(" {} |", expected(ability, holder).word());
        }
        text.push('\n');
    }
    for ability in ABILITIES {
        text += &format!("\n## {}\n\n", heading(ability.words()));
        text += "| who | | because |\n|---|---|---|\n";
        for holder in HOLDERS {
            let (verdict, why) = (expected(ability, holder).word(), reason(ability, holder));
            text += &format!("| {} | {verdict} | {why} |\n", holder.words());
        }
    }
    text
}

fn heading(words: &str) -> String {
    let (first, rest) = words.split_at(1);
    first.to_uppercase() + rest
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/holders.md")
}

#[test]
fn the_page_is_current() {
    if std::env::var_os("TRESOR_WRITE_DOCS").is_some() {
        std::fs::write(path(), words()).unwrap();
    }
    let there = std::fs::read_to_string(path()).unwrap_or_default();
    assert!(
        there == words(),
        "docs/holders.md is not current: run `TRESOR_WRITE_DOCS=1 cargo nextest run -p tresor-vault --test holders`"
    );
}
