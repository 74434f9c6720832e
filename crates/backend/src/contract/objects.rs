//! Single objects.

use bytes::Bytes;

use super::{Bench, Outcome, ensure, ensure_kind, succeed};
use crate::ErrorKind;

pub(super) async fn round_trip(bench: &Bench) -> Outcome {
    let body: Vec<u8> = (0..=255).collect();
    let name = bench.put("a/b/c", body.clone()).await?;
    bench.expect_body(&name, &body).await?;
    let meta = succeed("stat", bench.backend.stat(&name).await)?;
    ensure(meta.name == name && meta.size == 256, || {
        format!("stat says {meta:?}")
    })?;
    succeed("settle", bench.backend.settle(name.as_str()).await)
}

pub(super) async fn empty(bench: &Bench) -> Outcome {
    let name = bench.put("empty", Bytes::new()).await?;
    bench.expect_body(&name, b"").await?;
    let none = succeed("get_range", bench.backend.get_range(&name, 0..0).await)?;
    ensure(none.is_empty(), || "an empty range has bytes".to_owned())?;
    let meta = succeed("stat", bench.backend.stat(&name).await)?;
    ensure(meta.size == 0, || format!("stat says {meta:?}"))?;
    let listed = bench.list("").await?;
    ensure(listed == ["empty"], || format!("listed {listed:?}"))?;
    let beyond = bench.backend.get_range(&name, 0..1).await;
    ensure_kind("get_range beyond", beyond, ErrorKind::BadRange)
}

pub(super) async fn ranges(bench: &Bench) -> Outcome {
    let body = b"0123456789";
    let name = bench.put("ten", &body[..]).await?;
    for range in [0..10, 0..1, 9..10, 3..7, 0..0, 5..5, 10..10] {
        let want = body.iter().skip(range.start).take(range.len());
        let asked = range.start as u64..range.end as u64;
        let got = succeed("get_range", bench.backend.get_range(&name, asked).await)?;
        ensure(got.iter().eq(want), || format!("{range:?} gave {got:?}"))?;
    }
    #[expect(
        clippy::reversed_empty_ranges,
        reason = "a caller's mistake, on purpose"
    )]
    let bad = [
        0..11,
        10..11,
        11..11,
        11..12,
        7..3,
        0..u64::MAX,
        u64::MAX - 1..u64::MAX,
    ];
    for range in bad {
        let call = format!("get_range {range:?} of 10");
        let got = bench.backend.get_range(&name, range).await;
        ensure_kind(&call, got, ErrorKind::BadRange)?;
    }
    Ok(())
}

pub(super) async fn bounded_get(bench: &Bench) -> Outcome {
    let name = bench.put("ten", &b"0123456789"[..]).await?;
    for max_size in [10, 11, u64::MAX] {
        let got = succeed("get", bench.backend.get(&name, max_size).await)?;
        ensure(got.len() == 10, || format!("{} bytes", got.len()))?;
    }
    for max_size in [0, 9] {
        let got = bench.backend.get(&name, max_size).await;
        ensure_kind("get of more than allowed", got, ErrorKind::BadRange)?;
    }
    Ok(())
}

/// More than are read together, in several directories, with some that are missing or too large.
pub(super) async fn many(bench: &Bench) -> Outcome {
    let mut names = Vec::new();
    for number in 0..20 {
        let name = format!("lots/{}/{number}", number % 3);
        names.push(bench.put(&name, vec![7; number]).await?);
    }
    let missing = bench.name("lots/0/nothing")?;
    names.insert(5, missing.clone());
    names.push(missing);
    let none = bench.backend.get_many(&[], 14).await;
    ensure(none.is_empty(), || "no names have answers".to_owned())?;
    let answers = bench.backend.get_many(&names, 14).await;
    ensure(answers.len() == names.len(), || {
        format!("{} answers to {} names", answers.len(), names.len())
    })?;
    for (at, answer) in answers.into_iter().enumerate() {
        let call = format!("get_many, answer {at}");
        match at {
            5 | 21 => ensure_kind(&call, answer, ErrorKind::NotFound)?,
            16.. => ensure_kind(&call, answer, ErrorKind::BadRange)?,
            _ => {
                let wanted = if at > 5 { at - 1 } else { at };
                let got = succeed("get_many", answer)?;
                ensure(got == vec![7; wanted], || {
                    format!("{call} has {} bytes", got.len())
                })?;
            }
        }
    }
    Ok(())
}

pub(super) async fn missing(bench: &Bench) -> Outcome {
    bench.put("near/there", &b"x"[..]).await?;
    for below in [
        "near/nothing",
        "near",
        "far/nothing",
        "near/ther",
        "near/theree",
    ] {
        let name = bench.name(below)?;
        let backend = &bench.backend;
        let want = ErrorKind::NotFound;
        ensure_kind("get", backend.get(&name, 9).await, want)?;
        ensure_kind("get_range", backend.get_range(&name, 0..1).await, want)?;
        ensure_kind("stat", backend.stat(&name).await, want)?;
        succeed("settle of nothing", backend.settle(name.as_str()).await)?;
    }
    let listed = bench.list("").await?;
    ensure(listed == ["near/there"], || format!("listed {listed:?}"))
}

pub(super) async fn no_overwrite(bench: &Bench) -> Outcome {
    let name = bench.put("taken", &b"first"[..]).await?;
    for body in [&b"second"[..], b"first", b""] {
        let again = bench.backend.put(&name, Bytes::from_static(body)).await;
        ensure_kind("a second put", again, ErrorKind::AlreadyExists)?;
        bench.expect_body(&name, b"first").await?;
    }
    Ok(())
}

pub(super) async fn delete_twice(bench: &Bench) -> Outcome {
    let name = bench.put("here/today", &b"x"[..]).await?;
    for below in ["here/nothing", "here", "here/toda", "far/nothing"] {
        let nothing = bench.name(below)?;
        succeed("delete of nothing", bench.backend.delete(&nothing).await)?;
    }
    bench.expect_body(&name, b"x").await?;
    for _ in 0..2 {
        succeed("delete", bench.backend.delete(&name).await)?;
        let gone = bench.backend.stat(&name).await;
        ensure_kind("stat of the deleted", gone, ErrorKind::NotFound)?;
        let listed = bench.list("").await?;
        ensure(listed.is_empty(), || format!("listed {listed:?}"))?;
    }
    let name = bench.put("here/today", &b"again"[..]).await?;
    bench.expect_body(&name, b"again").await
}

pub(super) async fn delete_refused(bench: &Bench) -> Outcome {
    let name = bench.put("here/today", &b"x"[..]).await?;
    for below in ["here/today", "here/nothing", "here", "far/nothing"] {
        let object = bench.name(below)?;
        let deleted = bench.backend.delete(&object).await;
        ensure_kind("delete", deleted, ErrorKind::Refused)?;
    }
    bench.expect_body(&name, b"x").await?;
    let listed = bench.list("").await?;
    ensure(listed == ["here/today"], || format!("listed {listed:?}"))
}

pub(super) async fn big(bench: &Bench) -> Outcome {
    // No two 8-byte words are equal, so bytes in a wrong place are seen.
    let words = (0_u64..).flat_map(|at| at.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    let body: Bytes = words.take(bench.big_len).collect::<Vec<u8>>().into();
    let name = bench.put("big", body.clone()).await?;
    bench.expect_body(&name, &body).await?;
    let middle = bench.big_len / 2;
    let range = middle as u64..bench.big_len as u64;
    let half = succeed("get_range", bench.backend.get_range(&name, range).await)?;
    ensure(half == body.slice(middle..), || {
        "the second half differs".to_owned()
    })
}
