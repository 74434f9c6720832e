//! The targets, and whether a run met them. Pure.

use std::fmt;

use super::{peers::Case, report::Row};

/// What is known of a tool that ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    /// Whether it deduplicates and encrypts, as Tresor does: only such a tool is a fair opponent
    /// in time.
    pub comparable: bool,
    /// Whether its store is what it keeps a disk in, and not just a copy of the disk.
    pub compresses: bool,
}

/// A target, and the figure that was reached.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Verdict {
    what: String,
    figure: f64,
    unit: &'static str,
    limit: f64,
    met: bool,
    basis: String,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            what,
            figure,
            unit,
            limit,
            met,
            basis,
        } = self;
        let met = if *met { "met   " } else { "missed" };
        write!(
            f,
            "{met} {what}: {figure:.2}{unit} (target {limit:.2}{unit}; {basis})"
        )
    }
}

/// Judges what a run can be judged by: a target whose rows are missing is left out.
///
/// `dirty_mib` is the size of the dirty 64 KiB blocks.
pub(super) fn judge(rows: &[Row], kind_of: impl Fn(&str) -> Kind, dirty_mib: f64) -> Vec<Verdict> {
    let ours = |case| {
        rows.iter()
            .find(move |row| row.case == case && row.tool == OURS)
    };
    let peers = |case, wanted: fn(&Kind) -> bool| {
        rows.iter()
            .filter(move |row| row.case == case && row.tool != OURS)
            .filter(|row| wanted(&kind_of(&row.tool)))
            .collect::<Vec<_>>()
    };
    let mut verdicts = Vec::new();
    if let Some(full) = ours(Case::Full) {
        let rivals = peers(Case::Full, |kind| kind.comparable);
        if let Some(rival) = least(&rivals, |row| row.wall_s) {
            let basis = format!(
                "{:.1} s against {:.1} s of {}",
                full.wall_s, rival.wall_s, rival.tool
            );
            verdicts.push(at_least(
                "full, times as fast",
                rival.wall_s / full.wall_s,
                2.0,
                basis,
            ));
        }
        if let Some(rival) = least(&rivals, |row| row.wall_s) {
            let basis = format!(
                "{:.1} s against {:.1} s of {}",
                full.user_s, rival.user_s, rival.tool
            );
            verdicts.push(at_most(
                "full, user seconds",
                full.user_s / rival.user_s,
                "x",
                0.7,
                basis,
            ));
        }
        if let Some(rival) = least(&peers(Case::Full, |kind| kind.compresses), |row| {
            row.stored_mib
        }) {
            let basis = format!(
                "{:.0} MiB against {:.0} MiB of {}",
                full.stored_mib, rival.stored_mib, rival.tool
            );
            let ratio = full.stored_mib / rival.stored_mib;
            verdicts.push(at_most("full, stored", ratio, "x", 1.05, basis));
        }
    }
    if let Some(incremental) = ours(Case::Incremental) {
        let read = incremental.image_read_mib.unwrap_or(incremental.read_mib);
        let basis = format!("{read:.0} MiB of the image for {dirty_mib:.0} MiB dirty");
        verdicts.push(at_most(
            "incremental, read",
            read / dirty_mib,
            "x",
            1.1,
            basis,
        ));
        let stored = incremental.stored_mib;
        let basis = format!("{stored:.0} MiB for {dirty_mib:.0} MiB dirty");
        verdicts.push(at_most(
            "incremental, stored",
            stored / dirty_mib,
            "x",
            0.5,
            basis,
        ));
    }
    let all_ours: Vec<_> = rows.iter().filter(|row| row.tool == OURS).collect();
    if let Some(most) = least(&all_ours, |row| -row.peak_mib) {
        let basis = format!("in {}", most.case);
        verdicts.push(at_most("peak memory", most.peak_mib, " MiB", 300.0, basis));
    }
    verdicts
}

/// Our name in the table.
pub(super) const OURS: &str = "tresor";

pub(super) fn least<'a>(rows: &[&'a Row], value: impl Fn(&Row) -> f64) -> Option<&'a Row> {
    rows.iter()
        .copied()
        .min_by(|left, right| value(left).total_cmp(&value(right)))
}

pub(super) fn at_least(what: &str, figure: f64, limit: f64, basis: String) -> Verdict {
    Verdict {
        what: what.to_owned(),
        figure,
        unit: "x",
        limit,
        met: figure >= limit,
        basis,
    }
}

pub(super) fn at_most(
    what: &str,
    figure: f64,
    unit: &'static str,
    limit: f64,
    basis: String,
) -> Verdict {
    Verdict {
        what: what.to_owned(),
        figure,
        unit,
        limit,
        met: figure <= limit,
        basis,
    }
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
            read_mib: 330.0,
            stored_mib,
            note: String::new(),
            image_read_mib: None,
            flush_s: 0.0,
            latency_ms: None,
        }
    }

    fn kind_of(tool: &str) -> Kind {
        Kind {
            comparable: tool == "borg" || tool == "restic",
            compresses: tool != "cp",
        }
    }

    #[test]
    fn time_is_compared_with_the_fastest_fair_peer_and_size_with_the_smallest_store() {
        let rows = [
            row(Case::Full, "cp", 1.0, 0.1, 10.0),
            row(Case::Full, "zstd", 2.0, 2.0, 1700.0),
            row(Case::Full, "restic", 40.0, 30.0, 1900.0),
            row(Case::Full, "borg", 20.0, 18.0, 1800.0),
            row(Case::Full, OURS, 8.0, 9.0, 1870.0),
        ];
        let lines: Vec<_> = judge(&rows, kind_of, 300.0)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            lines,
            [
                "met    full, times as fast: 2.50x (target 2.00x; 8.0 s against 20.0 s of borg)",
                "met    full, user seconds: 0.50x (target 0.70x; 9.0 s against 18.0 s of borg)",
                "missed full, stored: 1.10x (target 1.05x; 1870 MiB against 1700 MiB of zstd)",
                "met    peak memory: 100.00 MiB (target 300.00 MiB; in full)",
            ]
        );
    }

    #[test]
    fn an_incremental_is_judged_by_what_is_dirty() {
        let rows = [row(Case::Incremental, OURS, 1.0, 1.0, 151.0)];
        let lines: Vec<_> = judge(&rows, kind_of, 300.0)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert!(
            lines[0].starts_with("met    incremental, read: 1.10x"),
            "{lines:?}"
        );
        assert!(
            lines[1].starts_with("missed incremental, stored: 0.50x"),
            "{lines:?}"
        );
    }

    #[test]
    fn nothing_is_claimed_without_rows() {
        assert_eq!(judge(&[], kind_of, 300.0), []);
    }
}
