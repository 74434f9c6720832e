#![allow(clippy::unwrap_used, reason = "tests may panic")]

use jiff::Timestamp;
use tresor_model::{Consistency, CopiedFrom, SessionId, VmId};
use uuid::Uuid;

use super::*;

const HOME: u128 = 1;
const AWAY: u128 = 2;

fn vault(number: u128) -> VaultId {
    VaultId::from_uuid(Uuid::from_u128(number))
}

fn id(number: u128) -> PointId {
    SessionId::from_uuid(Uuid::from_u128(number)).into()
}

/// The point `number` of a VM, the older the smaller.
fn point(vm: u128, number: u128) -> PointSummary {
    let at = Timestamp::from_second(i64::try_from(number).unwrap()).unwrap();
    PointSummary {
        id: id(vm * 1000 + number),
        vm: VmId::from_uuid(Uuid::from_u128(vm)),
        vm_name: format!("vm{vm}"),
        taken_at: at,
        committed_at: at,
        sequence: u64::try_from(number).unwrap(),
        consistency: Consistency::Crash,
        disks: 1,
        size: 0,
        stored: 0,
        warnings: 0,
        copied_from: None,
    }
}

/// Its copy in the other vault.
fn copy(vm: u128, number: u128) -> PointSummary {
    let original = point(vm, number);
    PointSummary {
        id: id(900_000 + vm * 1000 + number),
        copied_from: Some(CopiedFrom {
            vault: vault(HOME),
            point: original.id,
            at: original.taken_at,
        }),
        ..original
    }
}

fn plan(
    home: &[PointSummary],
    away: &[PointSummary],
    expired: &[PointId],
    choice: &CopyChoice,
) -> Vec<(PointId, Option<PointId>)> {
    let expired = expired.iter().copied().collect();
    let plan = plan_copies((vault(HOME), home), (vault(AWAY), away, &expired), choice);
    plan.into_iter()
        .map(|copy| (copy.point.id, copy.base))
        .collect()
}

#[test]
fn everything_is_copied_once_each_over_the_one_before() {
    let home = [point(1, 3), point(2, 1), point(1, 1), point(1, 2)];
    let all = CopyChoice::default();
    assert_eq!(
        plan(&home, &[], &[], &all),
        [
            (id(1001), None),
            (id(1002), Some(id(1001))),
            (id(1003), Some(id(1002))),
            (id(2001), None),
        ]
    );
    let away = [copy(1, 1), copy(1, 2), copy(2, 1)];
    assert_eq!(plan(&home, &away, &[], &all), [(id(1003), Some(id(1002)))]);
}

#[test]
fn what_the_other_vault_has_expired_is_not_brought_back_and_not_built_on() {
    let home = [point(1, 1), point(1, 2), point(1, 3)];
    let away = [copy(1, 1), copy(1, 2)];
    let expired = [copy(1, 2).id];
    let all = CopyChoice::default();
    assert_eq!(
        plan(&home, &away, &expired, &all),
        [(id(1003), Some(id(1001)))]
    );
}

#[test]
fn a_copy_is_known_by_its_origin_in_both_directions() {
    // The first vault was lost, and its points come back from the second.
    let home = [copy(1, 1), copy(1, 2)];
    let expired = HashSet::new();
    let back = plan_copies(
        (vault(AWAY), &home),
        (vault(HOME), &[point(1, 1)], &expired),
        &CopyChoice::default(),
    );
    let back: Vec<_> = back.iter().map(|copy| (copy.point.id, copy.base)).collect();
    assert_eq!(back, [(copy(1, 2).id, Some(copy(1, 1).id))]);
}

#[test]
fn a_choice_leaves_the_rest() {
    let home = [point(1, 1), point(1, 2), point(1, 3), point(2, 1)];
    let newest = CopyChoice {
        newest: Some(1),
        ..CopyChoice::default()
    };
    assert_eq!(
        plan(&home, &[], &[], &newest),
        [(id(1003), None), (id(2001), None)]
    );
    let of_one = CopyChoice {
        names: vec!["vm2".to_owned()],
        ..CopyChoice::default()
    };
    assert_eq!(plan(&home, &[], &[], &of_one), [(id(2001), None)]);
    let one_point = CopyChoice {
        points: vec![id(1002)],
        ..CopyChoice::default()
    };
    assert_eq!(
        plan(&home, &[copy(1, 1)], &[], &one_point),
        [(id(1002), Some(id(1001)))]
    );
}

#[test]
fn what_is_older_than_the_newest_copy_comes_only_when_asked_for() {
    let home = [point(1, 1), point(1, 2), point(1, 3), point(2, 1)];
    let away = [copy(1, 2)];
    let newer = [(id(1003), Some(id(1002))), (id(2001), None)];
    assert_eq!(plan(&home, &away, &[], &CopyChoice::default()), newer);
    let older = CopyChoice {
        older: true,
        ..CopyChoice::default()
    };
    assert_eq!(
        plan(&home, &away, &[], &older),
        [(id(1001), None), newer[0], newer[1]]
    );
    let named = CopyChoice {
        points: vec![id(1001)],
        ..CopyChoice::default()
    };
    assert_eq!(plan(&home, &away, &[], &named), [(id(1001), None)]);
}
