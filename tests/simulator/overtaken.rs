//! Folders that get another's name while a sync looks.

use mailtide::model::{FlagSet, Timestamp};
use mailtide::reconcile::policy::Delete;

use super::account::{DATE, in_step, struck_everywhere, sync};
use super::mail::Kind;
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
