//! Folders that get another's name while a sync looks.

use mailtide::model::{FlagSet, Timestamp};
use mailtide::reconcile::policy::{Delete, HoldAnswer};

use super::account::{DATE, answer, codes, in_step, local_ids, struck_everywhere, sync};
use super::mail::Kind;
use super::scenarios::PLAIN;
use super::users::folder;
use super::world::{Shared, World};

/// An account with two messages in One, in step.
fn with_one() -> Shared {
    let shared = in_step(Delete::Trash, 1);
    for id in [2, 3] {
        let date = Timestamp(DATE.0 + i64::from(id));
        shared.world().remote_put(&folder("One"), id, Kind::Ordinary, date, &FlagSet::new());
    }
    sync(&shared);
    shared
}

fn renamed_both_ways(world: &mut World) {
    world.remote_rename_folder(&folder("One"), &folder("New"));
    world.local_rename_folder(&folder("One"), &folder("Other"));
}

/// Seed 1795888728100263: CREATE found it there already. It was fetched as a new one, and what the renamed maildir held was
/// sent by the next sync.
#[test]
fn a_folder_renamed_to_the_name_of_one_about_to_be_created_is_not_fetched_as_that() {
    let make = || {
        let shared = with_one();
        let mut world = shared.world();
        world.maildir.create(&folder("New"));
        world.meanwhile = Some(("create New", renamed_both_ways));
        drop(world);
        shared
    };
    struck_everywhere(make, &[("INBOX", &[1]), ("New", &[2, 3]), ("One", &[]), ("Other", &[])]);
}

/// The listing had shown another mailbox under its name, with its numbers or without.
#[test]
fn a_folder_renamed_to_the_name_of_a_new_one_is_not_fetched_as_that() {
    for status in [true, false] {
        let make = || {
            let shared = with_one();
            let mut world = shared.world();
            world.server.status = status;
            world.server.create(&folder("New"), None);
            world.meanwhile = Some(("observe New", |world| {
                world.remote_remove_folder(&folder("New"));
                renamed_both_ways(world);
            }));
            drop(world);
            shared
        };
        struck_everywhere(make, &[("INBOX", &[1]), ("New", &[2, 3]), ("One", &[]), ("Other", &[])]);
    }
}

/// Seed 1795899069475156: without numbers in the listing, another that had the name of a folder looked like this one having
/// left it for that of a third just then, in every sync.
#[test]
fn a_folder_of_another_is_not_waited_for_where_its_name_has_been_taken_before() {
    let shared = in_step(Delete::Never, 1);
    shared.world().server.same_second = true;
    for (name, id) in [("One", 2), ("Two", 3)] {
        shared.world().remote_put(&folder(name), id, Kind::Ordinary, DATE, &FlagSet::new());
    }
    sync(&shared);
    {
        let mut world = shared.world();
        (world.server.status, world.server.abilities) = (false, PLAIN);
        world.remote_remove_folder(&folder("One"));
        world.remote_put(&folder("One"), 4, Kind::Ordinary, DATE, &FlagSet::new());
        world.remote_put(&folder("Two"), 5, Kind::Ordinary, DATE, &FlagSet::new());
    }
    answer(&shared, HoldAnswer::Accept);
    let report = sync(&shared);
    assert_eq!(codes(&report), Vec::<&str>::new(), "{report:?}");
    assert_eq!(local_ids(&shared, "Two"), [3, 5]);
}
