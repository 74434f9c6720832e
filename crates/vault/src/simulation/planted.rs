//! The test of the test: each defect that somebody could build in is found.

use super::{SEEDS, every_kind};
use crate::session::PlantedBug;

fn is_found(bug: PlantedBug) {
    let found = (0..SEEDS).find_map(|seed| Some((seed, every_kind(seed, Some(bug)).err()?)));
    match found {
        Some((seed, (kind, broken))) => println!("{bug:?}: {kind:?}, seed {seed}: {broken}"),
        None => panic!("{bug:?} was not found in {SEEDS} seeds"),
    }
}

macro_rules! planted {
    ($($test:ident $bug:ident)*) => {
        $(#[test]
        fn $test() {
            is_found(PlantedBug::$bug);
        })*
    };
}

planted! {
    end_before_packs_is_found EndBeforePacks
    end_before_index_is_found EndBeforeIndex
    end_before_tree_is_found EndBeforeTree
    commit_ignores_rival_is_found CommitIgnoresRival
    trusts_what_it_saw_is_found TrustsWhatItSaw
    plans_before_begin_is_found PlansBeforeBegin
    ignores_plans_is_found IgnoresPlans
    inherits_from_dropped_is_found InheritsFromDropped
    trusts_its_end_is_found TrustsItsEnd
    no_second_list_is_found NoSecondList
    trusts_clock_is_found TrustsClock
    nothing_struck_off_is_found NothingStruckOff
    number_listed_again_is_found NumberListedAgain
    claims_before_moved_is_found ClaimsBeforeMoved
    forgets_moved_is_found ForgetsMoved
    unsettled_marks_is_found UnsettledMarks
    frees_end_first_is_found FreesEndFirst
    unmarks_first_is_found UnmarksFirst
}
