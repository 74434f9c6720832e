//! Rows use rows below, never above (ARCHITECTURE.md). Dev-dependencies are free: a test may use
//! anything.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::process::{capture, tool};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Row {
    Core,
    Protocol,
    Port,
    Adapter,
    Engine,
    Catalog,
    Workflow,
    /// Parts of the program that run on their own: they choose adapters.
    Role,
    Program,
    Dev,
}

use Row::{Adapter, Catalog, Core, Dev, Engine, Port, Program, Protocol, Role, Workflow};

/// Every crate's row.
const CRATES: &[(&str, Row)] = &[
    ("tresor-model", Core),
    ("tresor-policy", Core),
    ("tresor-problem", Core),
    ("tresor-schedule", Core),
    ("tresor-vault-format", Core),
    ("tresor-link-proto", Core),
    ("tresor-api-types", Core),
    ("tresor-nbd", Protocol),
    ("tresor-qmp", Protocol),
    ("tresor-channel", Protocol),
    ("tresor-backend", Port),
    ("tresor-disk", Port),
    ("tresor-link", Port),
    ("tresor-backend-object", Adapter),
    ("tresor-disk-qemu", Adapter),
    ("tresor-gateway", Adapter),
    ("tresor-notify", Adapter),
    ("tresor-oidc", Adapter),
    ("tresor-jobs", Engine),
    ("tresor-transfer", Engine),
    ("tresor-vault", Engine),
    ("tresor-identity", Engine),
    ("tresor-catalog", Catalog),
    ("tresor-workflows", Workflow),
    ("tresor-host", Role),
    ("tresor-host-link", Role),
    ("tresor-service", Role),
    ("tresor-front", Role),
    ("tresor-uplink", Role),
    ("tresor-api", Role),
    ("tresor-api-client", Role),
    ("tresor", Program),
    ("tresor-bench", Dev),
    ("tresor-decoders", Dev),
    ("tresor-testkit", Dev),
    ("tresor-guest-workload", Dev),
    ("tresor-e2e", Dev),
    ("tresor-sim", Dev),
    ("xtask", Dev),
];

/// The rows that a row may use.
fn below(row: Row) -> &'static [Row] {
    match row {
        Core => &[Core],
        Protocol => &[Core],
        Port => &[Core],
        Adapter => &[Port, Protocol, Core],
        // The engines know nothing of SQL, nor of any one hypervisor.
        Engine => &[Engine, Port, Core],
        // Keeps the engines' logs, so it knows their traits.
        Catalog => &[Engine, Core],
        Workflow => &[Catalog, Engine, Port, Core],
        Role => &[
            Role, Workflow, Catalog, Engine, Adapter, Port, Protocol, Core,
        ],
        Program => &[
            Role, Workflow, Catalog, Engine, Adapter, Port, Protocol, Core,
        ],
        Dev => &[
            Dev, Program, Role, Workflow, Catalog, Engine, Adapter, Port, Protocol, Core,
        ],
    }
}

pub(super) fn complaints(root: &Path) -> Result<Vec<String>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let text = capture(tool(cargo).current_dir(root).args([
        "metadata",
        "--no-deps",
        "--offline",
        "--format-version",
        "1",
    ]))?;
    let metadata: Value = serde_json::from_str(&text)?;
    let packages = metadata["packages"]
        .as_array()
        .context("cargo metadata lists no packages")?;
    let mut complaints = Vec::new();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let uses = package["dependencies"].as_array();
        let uses = uses.into_iter().flatten().filter(|used| {
            // A path: ours. A kind: only for tests or building.
            used["path"].is_string() && used["kind"].is_null()
        });
        let uses: Vec<&str> = uses.filter_map(|used| used["name"].as_str()).collect();
        judge(name, &uses, &mut complaints);
    }
    Ok(complaints)
}

fn judge(name: &str, uses: &[&str], complaints: &mut Vec<String>) {
    let Some(row) = row_of(name) else {
        complaints.push(format!("{name} has no row: give it one in {}", file!()));
        return;
    };
    for used in uses {
        match row_of(used) {
            Some(used_row) if !below(row).contains(&used_row) => complaints.push(format!(
                "{name} ({row:?}) uses {used} ({used_row:?}), which is not below it"
            )),
            _ => {}
        }
    }
}

fn row_of(name: &str) -> Option<Row> {
    CRATES
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, row)| *row)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(name: &str, uses: &[&str]) -> usize {
        let mut complaints = Vec::new();
        judge(name, uses, &mut complaints);
        complaints.len()
    }

    #[test]
    fn looking_up_is_found() {
        assert_eq!(
            judged("tresor-vault", &["tresor-backend", "tresor-model"]),
            0
        );
        assert_eq!(judged("tresor-vault", &["tresor-catalog"]), 1);
        assert_eq!(judged("tresor-transfer", &["tresor-disk-qemu"]), 1);
        assert_eq!(judged("tresor-model", &["tresor-testkit"]), 1);
        assert_eq!(judged("tresor-unheard-of", &[]), 1);
    }
}
