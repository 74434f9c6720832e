//! What the vault is to reach, and whether a run did. Pure.

use crate::bench::{
    peers::{Case, MODEL},
    report::Row,
    targets::{Kind, OURS, Verdict, at_least, at_most, least},
};

/// What times are compared with: of the row, until its data was durable.
fn durable_s(row: &Row) -> f64 {
    row.wall_s + row.flush_s
}

/// Judges what a run can be judged by: a target whose rows are missing is left out.
pub(super) fn judge(rows: &[Row], kind_of: impl Fn(&str) -> Kind) -> Vec<Verdict> {
    let row = |case, tool: &str| rows.iter().find(|row| row.case == case && row.tool == tool);
    let rivals: Vec<_> = rows
        .iter()
        .filter(|row| row.case == Case::Full && row.tool != OURS && kind_of(&row.tool).comparable)
        .collect();
    let mut verdicts = Vec::new();
    if let Some(full) = row(Case::Full, OURS) {
        verdicts.extend(judge_full(full, &rivals));
    }
    let mut ratio =
        |what: &str, case, value: fn(&Row) -> f64, (other, unit): (&str, &str), limit| {
            if let (Some(ours), Some(theirs)) = (row(case, OURS), row(case, other)) {
                let basis = format!(
                    "{:.1}{unit} against {:.1}{unit} of {other}",
                    value(ours),
                    value(theirs)
                );
                verdicts.push(at_most(
                    what,
                    value(ours) / value(theirs),
                    "x",
                    limit,
                    basis,
                ));
            }
        };
    let wall = |row: &Row| row.wall_s;
    let s = |tool| (tool, " s");
    ratio("full, wall of a copy", Case::Full, durable_s, s("cp"), 2.0);
    ratio(
        "incremental, wall",
        Case::Incremental,
        wall,
        s(MODEL),
        1.0 / 3.0,
    );
    ratio("re-read, wall", Case::Reread, wall, s("cat"), 1.3);
    ratio(
        "restore, wall until durable",
        Case::Restore,
        durable_s,
        s("cp"),
        1.5,
    );
    ratio("verify, wall", Case::Verify, wall, s("cat"), 1.2);
    if let (Some(ours), Some(restic)) = (row(Case::Incremental, OURS), row(Case::Reread, "restic"))
    {
        let (ours, theirs) = (ours.stored_mib, restic.stored_mib);
        let basis = format!("{ours:.0} MiB against {theirs:.0} MiB of restic");
        verdicts.push(at_most(
            "incremental, stored",
            ours / theirs,
            "x",
            0.5,
            basis,
        ));
    }
    let all_ours: Vec<_> = rows.iter().filter(|row| row.tool == OURS).collect();
    if let Some(most) = least(&all_ours, |row| -row.peak_mib) {
        let basis = format!("in {}", most.case);
        verdicts.push(at_most("peak memory", most.peak_mib, " MiB", 256.0, basis));
    }
    if let Some((median, p99)) = row(Case::Random, OURS).and_then(|row| row.latency_ms) {
        let basis = "4 KiB, one at a time".to_owned();
        verdicts.push(at_most(
            "random read, median",
            median,
            " ms",
            1.0,
            basis.clone(),
        ));
        verdicts.push(at_most("random read, p99", p99, " ms", 4.0, basis));
    }
    verdicts
}

/// The full backup against those that deduplicate and encrypt, in their defaults.
fn judge_full(full: &Row, rivals: &[&Row]) -> Vec<Verdict> {
    type Figure = (&'static str, fn(&Row) -> f64, &'static str);
    let figures: [Figure; 3] = [
        ("full, times as fast", |row| row.wall_s, " s"),
        ("full, user seconds", |row| row.user_s, " s"),
        ("full, stored", |row| row.stored_mib, " MiB"),
    ];
    let mut verdicts = Vec::new();
    for (what, value, unit) in figures {
        let Some(best) = least(rivals, value) else {
            continue;
        };
        let (ours, theirs) = (value(full), value(best));
        let basis = format!("{ours:.1}{unit} against {theirs:.1}{unit} of {}", best.tool);
        verdicts.push(match what {
            "full, times as fast" => at_least(what, theirs / ours, 4.0, basis),
            "full, user seconds" => at_most(what, ours / theirs, "x", 0.6, basis),
            _ => at_most(what, ours / theirs, "x", 1.05, basis),
        });
    }
    verdicts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(case: Case, tool: &str, wall_s: f64, user_s: f64, stored_mib: f64) -> Row {
        Row {
            case,
            tool: tool.to_owned(),
            wall_s,
            user_s,
            sys_s: 0.0,
            peak_mib: 100.0,
            read_mib: 0.0,
            stored_mib,
            note: String::new(),
            image_read_mib: None,
            flush_s: 1.0,
            latency_ms: None,
        }
    }

    fn judged(rows: &[Row]) -> Vec<String> {
        let kind_of = |tool: &str| Kind {
            comparable: tool == "restic" || tool == "borg-lz4",
            compresses: true,
        };
        judge(rows, kind_of)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn a_full_is_compared_with_the_best_of_each_kind() {
        let lines = judged(&[
            row(Case::Full, "cp", 3.0, 0.1, 4000.0),
            row(Case::Full, "restic", 30.0, 30.0, 1800.0),
            row(Case::Full, "borg-lz4", 20.0, 14.0, 2300.0),
            row(Case::Full, MODEL, 1.0, 1.0, 1.0),
            row(Case::Full, OURS, 4.0, 9.1, 1850.0),
        ]);
        assert_eq!(
            lines,
            [
                "met    full, times as fast: 5.00x (target 4.00x; 4.0 s against 20.0 s of borg-lz4)",
                "missed full, user seconds: 0.65x (target 0.60x; 9.1 s against 14.0 s of borg-lz4)",
                "met    full, stored: 1.03x (target 1.05x; 1850.0 MiB against 1800.0 MiB of restic)",
                "met    full, wall of a copy: 1.25x (target 2.00x; 5.0 s against 4.0 s of cp)",
                "met    peak memory: 100.00 MiB (target 256.00 MiB; in full)",
            ]
        );
    }

    #[test]
    fn everything_else_is_compared_with_its_yardstick() {
        let mut random = row(Case::Random, OURS, 1.0, 1.0, 0.0);
        random.latency_ms = Some((0.9, 4.5));
        let lines = judged(&[
            row(Case::Incremental, MODEL, 4.5, 1.0, 540.0),
            row(Case::Incremental, OURS, 1.4, 1.0, 95.0),
            row(Case::Reread, "restic", 9.0, 9.0, 250.0),
            row(Case::Reread, "cat", 3.0, 0.1, 0.0),
            row(Case::Reread, OURS, 3.3, 1.0, 95.0),
            row(Case::Restore, "cp", 3.0, 0.1, 0.0),
            row(Case::Restore, OURS, 5.5, 3.0, 0.0),
            row(Case::Verify, "cat", 1.0, 0.1, 0.0),
            row(Case::Verify, OURS, 1.1, 0.3, 0.0),
            random,
        ]);
        let verdicts: Vec<_> = lines
            .iter()
            .filter_map(|line| line.split(" (").next())
            .collect();
        assert_eq!(
            verdicts,
            [
                "met    incremental, wall: 0.31x",
                "met    re-read, wall: 1.10x",
                "missed restore, wall until durable: 1.62x",
                "met    verify, wall: 1.10x",
                "met    incremental, stored: 0.38x",
                "met    peak memory: 100.00 MiB",
                "met    random read, median: 0.90 ms",
                "missed random read, p99: 4.50 ms",
            ]
        );
    }

    #[test]
    fn nothing_is_claimed_without_rows() {
        assert!(judged(&[]).is_empty());
    }
}
