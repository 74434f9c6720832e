//! What was seen of a VM's disks beside their content. Pure.

use jiff::Timestamp;
use tresor_model::Fact;

use crate::{judge::is_foreign, prepare::PlannedDisk};

/// Who says so.
const OBSERVER: &str = "qmp";

/// Other tools' bitmaps (`disk.NAME.foreign-bitmaps`: their names), which are left alone, and from
/// which size a disk has grown (`disk.NAME.grown-from`: bytes).
pub(crate) fn of_disks(disks: &[PlannedDisk], at: Timestamp) -> Vec<Fact> {
    let mut facts = Vec::new();
    for disk in disks {
        let about = |what: &str| format!("disk.{}.{what}", disk.name);
        let names = disk.signs.bitmaps.iter().flatten();
        let foreign: Vec<_> = names
            .filter(|name| is_foreign(name))
            .map(String::as_str)
            .collect();
        if !foreign.is_empty() {
            let name = about("foreign-bitmaps");
            facts.push(Fact::present(&name, foreign, OBSERVER, at));
        }
        if disk.trusted().is_some() && disk.tracked < disk.size {
            let name = about("grown-from");
            facts.push(Fact::present(&name, disk.tracked, OBSERVER, at));
        }
    }
    facts
}
