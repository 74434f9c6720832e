//! Every holder tries everything; what comes of it is what is expected.

use crate::expected::expected;
use crate::holder::{ABILITIES, Ability, HOLDERS};
use crate::scene::Scene;
use crate::tries::attempt;

async fn row(ability: Ability) {
    let mut wrong = Vec::new();
    for holder in HOLDERS {
        let scene = Scene::make().await;
        let found = attempt(&scene, ability, holder).await;
        if found != expected(ability, holder) {
            wrong.push(format!("{ability:?} {holder:?}: {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "found:\n{}", wrong.join("\n"));
}

/// One test for each ability, and no ability without one.
macro_rules! rows {
    ($($name:ident: $ability:ident,)*) => {
        $(#[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            row(Ability::$ability).await;
        })*

        #[test]
        fn every_ability_has_a_test() {
            let tried = [$(Ability::$ability),*];
            let missing: Vec<_> = ABILITIES.iter().filter(|all| !tried.contains(all)).collect();
            assert!(missing.is_empty(), "{missing:?}");
        }
    };
}

rows! {
    who_lists_names: ListNames,
    who_reads_data: ReadData,
    who_finds_known_bytes: FindKnown,
    who_writes_points: WritePoints,
    who_forges_points: ForgePoint,
    who_changes_unseen: ChangeUnseen,
    who_poisons_backups: PoisonBackups,
    who_verifies_bytes: VerifyBytes,
    who_changes_keys: ChangeKeys,
    who_collects: Collect,
}
