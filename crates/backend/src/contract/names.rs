//! Names, lists, prefixes.

use super::{Bench, Outcome, ensure, succeed};
use crate::ObjectName;

const SEGMENT_BYTES: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789._-";

pub(super) async fn all_legal(bench: &Bench) -> Outcome {
    let alphabet: String = SEGMENT_BYTES.iter().copied().map(char::from).collect();
    let room = ObjectName::MAX_LEN - bench.area.len() - 1;
    let mut names: Vec<String> = vec![alphabet, "x".repeat(room)];
    // As deep as a name can be.
    names.push(format!("{}y", "d/".repeat((room - 1) / 2)));
    names.extend(["..", "con", "nul.txt", "-rf", "a.", "a-", "_"].map(|tail| format!("z{tail}")));
    for byte in SEGMENT_BYTES.iter().filter(|byte| **byte != b'.') {
        names.push(format!("one/{}", char::from(*byte)));
    }
    for name in &names {
        let put = bench.put(name, name.clone()).await?;
        bench.expect_body(&put, name.as_bytes()).await?;
    }
    names.sort();
    let listed = bench.list("").await?;
    ensure(listed == names, || {
        format!("put {names:?}, listed {listed:?}")
    })
}

pub(super) async fn sorted_and_complete(bench: &Bench) -> Outcome {
    // Sorted by bytes of the whole name: `-` and `.` before `/`, `0` and `_` after it.
    let mut names: Vec<String> = ["p-a", "p.a", "p/a", "p0a", "p_a", "p/a.b", "p/a-b/c", "q"]
        .map(str::to_owned)
        .into();
    names.extend((0..300).map(|nth| format!("many/{:02x}/{nth}", nth % 7)));
    // Put in an order that is not the sorted one.
    for name in names.iter().rev() {
        bench.put(name, name.clone()).await?;
    }
    names.sort();
    let listed = bench.list("").await?;
    ensure(listed == names, || format!("listed {listed:?}"))?;
    let listed = bench.backend.list(&format!("{}/", bench.area)).await;
    for meta in succeed("list", listed)? {
        let stat = succeed("stat", bench.backend.stat(&meta.name).await)?;
        ensure(stat == meta, || format!("listed {meta:?}, stat {stat:?}"))?;
    }
    Ok(())
}

pub(super) async fn prefixes(bench: &Bench) -> Outcome {
    let names = ["aa/x", "aa/xy", "aa/y/z", "ab", "b"];
    for name in names {
        bench.put(name, "x").await?;
    }
    for prefix in [
        "", "a", "aa", "aa/", "aa/x", "aa/xy", "aa/xyz", "aa/y", "aa/y/", "ab/", "c", "b",
    ] {
        let want: Vec<&str> = names
            .into_iter()
            .filter(|name| name.starts_with(prefix))
            .collect();
        let listed = bench.list(prefix).await?;
        ensure(listed == want, || format!("`{prefix}` listed {listed:?}"))?;
    }
    // The area itself as a prefix that ends inside a segment.
    let listed = succeed("list", bench.backend.list(&bench.area).await)?;
    ensure(listed.len() >= names.len(), || {
        format!("the area listed {listed:?}")
    })
}

pub(super) async fn hostile_prefixes(bench: &Bench) -> Outcome {
    bench.put("a/b", "x").await?;
    for prefix in [
        "/", "//", "..", "../", "a/../", "./a", ".tmp/", "A", "a b", "a//", "a/b/", "\0", "ä/",
    ] {
        let listed = bench.list(prefix).await?;
        ensure(listed.is_empty(), || {
            format!("`{prefix}` listed {listed:?}")
        })?;
        let listed = succeed("list", bench.backend.list(&format!("/{prefix}")).await)?;
        ensure(listed.is_empty(), || {
            format!("`/{prefix}` listed {listed:?}")
        })?;
    }
    Ok(())
}
