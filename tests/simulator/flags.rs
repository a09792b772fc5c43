//! Flags that could be brought over by halves only, and changes of flags that are easily overlooked.

use mailtide::model::{Flag, FlagSet, MailboxName};
use mailtide::reconcile::policy::{Delete, Options};

use super::account::{DATE, codes, dies, file, in_step, sync};
use super::check::{View, local_view, remote_view};
use super::history::calm_run;
use super::mail::Kind;
use super::scenarios::{self, Act, local_flag, remote_flag};
use super::schedule::CrashAt;
use super::users::{FlagEdit, folder};
use super::world::{Mishaps, Shared, World};

/// How a run may die at a call: before it, after it, after it with the power.
const STRIKES: [(bool, bool); 3] = [(false, false), (true, false), (true, true)];

/// The next look showed only what had changed since, and the file did not get the flag before a look at everything.
#[test]
fn flags_set_while_a_renamed_file_could_not_be_told_from_a_removed_one_come_with_the_next_full_look() {
    let shared = in_step(Delete::Expunge, 2);
    let (unique, (name, uid)) = (file(&shared, 1), shared.world().uids()[0].clone());
    shared.world().mishaps.read_only.insert(name.clone());
    shared.world().remote_flag(&name, uid, &FlagEdit::new("\\Flagged", true));
    shared.world().local_move(&name, &unique, &name);
    assert_eq!(codes(&sync(&shared)), ["read-only", "read-only"]);
    shared.world().mishaps.read_only.clear();
    shared.world().now.0 += 60;
    calm_run(&shared, &Options { full: true, ..Options::default() });
    let world = shared.world();
    let flagged = |view: View| view[&name].iter().filter(|seen| seen.flags.has(Flag::Flagged)).count();
    assert_eq!([local_view(&world), remote_view(&world)].map(flagged), [1, 1]);
}

/// The server forgot to count a change, and a mail reader took note of the file before it got the flag. The next pass
/// looked only at what the server counted, and took all for done.
#[test]
fn what_only_a_full_look_shows_is_not_forgotten_when_a_file_gets_another_name_meanwhile() {
    let shared = in_step(Delete::Trash, 2);
    let (name, uid) = scenarios::uid(&shared.world(), 1);
    {
        let mut world = shared.world();
        let message = world.server.open(&name).unwrap().messages.get_mut(&uid).unwrap();
        message.flags.set(Flag::Flagged, true);
        // Out of `new`, without any flag.
        world.meanwhile = Some(("set_flags", |world| local_flag(world, 1, "\\Seen", false)));
        world.now.0 += 8 * 86_400;
    }
    calm_run(&shared, &Options::default());
    let world = shared.world();
    assert!(world.meanwhile.is_none());
    let view = local_view(&world);
    let message = view[&name].iter().find(|seen| seen.id == 1).unwrap();
    assert!(message.flags.has(Flag::Flagged), "{message:?}");
}

/// Returns the flags of INBOX's first message, here and there.
fn both_flags(shared: &Shared) -> [String; 2] {
    let world = shared.world();
    [local_view(&world), remote_view(&world)].map(|view| view[&MailboxName::inbox()][0].flags.to_string())
}

/// What had been stored for the Maildir was taken for a change by others, and came back.
#[test]
fn a_flag_sent_and_taken_off_here_before_its_file_got_another_stays_off() {
    let shared = in_step(Delete::Trash, 1);
    {
        let mut world = shared.world();
        local_flag(&mut world, 1, "\\Answered", true);
        remote_flag(&mut world, 1, "\\Flagged", true);
        world.meanwhile = Some(("set_flags", |world| local_flag(world, 1, "\\Answered", false)));
    }
    sync(&shared);
    assert!(shared.world().meanwhile.is_none());
    assert_eq!(both_flags(&shared), ["\\Flagged", "\\Flagged"]);
}

#[test]
fn a_flag_sent_from_a_file_that_cannot_be_renamed_and_taken_off_later_stays_off() {
    let shared = in_step(Delete::Trash, 1);
    let stuck = file(&shared, 1);
    shared.world().mishaps.stuck = Some(stuck);
    local_flag(&mut shared.world(), 1, "\\Answered", true);
    remote_flag(&mut shared.world(), 1, "\\Flagged", true);
    assert_eq!(codes(&sync(&shared)), ["local-item"]);
    local_flag(&mut shared.world(), 1, "\\Answered", false);
    shared.world().mishaps.stuck = None;
    sync(&shared);
    assert_eq!(both_flags(&shared), ["\\Flagged", "\\Flagged"]);
}

/// An account with two messages that bear a keyword's letter: what the letter means is not known if its list can't be read.
fn two_lettered() -> Shared {
    let shared = in_step(Delete::Trash, 2);
    for id in [1, 2] {
        remote_flag(&mut shared.world(), id, "work", true);
    }
    sync(&shared);
    shared
}

/// As a program does that drops the letters that it does not know.
fn mark_as_read_and_strip(shared: &Shared) {
    let unique = file(shared, 1);
    shared.world().local_strip(&MailboxName::inbox(), &unique, &FlagEdit::new("\\Seen", true));
}

/// The other flag, which the server had not stored, was not seen to have changed: the keyword was taken off.
#[test]
fn letters_stripped_with_a_flag_that_the_server_did_not_store_come_back() {
    let shared = in_step(Delete::Trash, 1);
    let sent = FlagEdit::new("\\Seen", true).flags.union(&FlagEdit::new("work", true).flags);
    {
        let mut world = shared.world();
        world.mishaps.drops = FlagSet::of(&[Flag::Seen]);
        world.local_put(&MailboxName::inbox(), 2, Kind::Ordinary, DATE, Some(&sent));
        // Before the look that follows the upload.
        world.meanwhile = Some(("observe INBOX", |world| {
            let (inbox, unique) = scenarios::file(world, 2);
            world.local_strip(&inbox, &unique, &FlagEdit::new("\\Seen", false));
        }));
    }
    sync(&shared);
    assert!(shared.world().meanwhile.is_none());
    sync(&shared);
    let world = shared.world();
    for view in [local_view(&world), remote_view(&world)] {
        let flags: Vec<String> =
            view[&MailboxName::inbox()].iter().filter(|seen| seen.id == 2).map(|seen| seen.flags.to_string()).collect();
        assert_eq!(flags, ["work"]);
    }
}

/// What its name lacks is not agreed on with what the server stored: it would look like taken off.
#[test]
fn letters_stripped_from_a_file_that_cannot_be_renamed_come_back_when_it_can() {
    let shared = in_step(Delete::Trash, 1);
    remote_flag(&mut shared.world(), 1, "work", true);
    sync(&shared);
    let stuck = file(&shared, 1);
    shared.world().mishaps.stuck = Some(stuck);
    mark_as_read_and_strip(&shared);
    assert_eq!(codes(&sync(&shared)), ["local-item"]);
    shared.world().mishaps.stuck = None;
    sync(&shared);
    assert_eq!(both_flags(&shared), ["\\Seen work", "\\Seen work"]);
}

/// What had been brought over and was not recorded yet counted as the newer: a flag set again went away on both sides,
/// and one taken off again came back.
#[test]
fn a_flag_changed_back_after_a_sync_was_struck_is_as_it_was_left() {
    let edits: [fn(&mut World, u32, &str, bool); 2] = [local_flag, remote_flag];
    let cases = edits.into_iter().flat_map(|edit| [true, false].map(|set| (edit, set)));
    for ((edit, set), (after, power)) in cases.flat_map(|case| STRIKES.map(|strike| (case, strike))) {
        for step in 0.. {
            let shared = in_step(Delete::Trash, 1);
            edit(&mut shared.world(), 1, "\\Answered", set);
            sync(&shared);
            edit(&mut shared.world(), 1, "\\Answered", !set);
            let died = dies(&shared, CrashAt { step, after, power });
            edit(&mut shared.world(), 1, "\\Answered", set);
            sync(&shared);
            let flags = if set { "\\Answered" } else { "" };
            assert_eq!(both_flags(&shared), [flags, flags], "struck {step} {after} {power}");
            if !died {
                break;
            }
        }
    }
}

/// Seed 1795968152088917: what the server had stored counted as not agreed on once a run could not see the file, and as set
/// there by others when it was taken off here.
#[test]
fn a_flag_changed_back_after_a_sync_was_struck_and_one_saw_no_file_is_as_it_was_left() {
    let unreadable: Act = |world| world.mishaps.unreadable = Some(MailboxName::inbox());
    let restless: Act = |world| world.mishaps.restless = Some(MailboxName::inbox());
    for ((after, power), blind) in STRIKES.into_iter().flat_map(|strike| [(strike, unreadable), (strike, restless)]) {
        for step in 0.. {
            let shared = in_step(Delete::Trash, 1);
            local_flag(&mut shared.world(), 1, "\\Flagged", true);
            let died = dies(&shared, CrashAt { step, after, power });
            blind(&mut shared.world());
            sync(&shared);
            shared.world().mishaps = Mishaps::default();
            local_flag(&mut shared.world(), 1, "\\Flagged", false);
            scenarios::quiet(&shared);
            assert_eq!(both_flags(&shared), [""; 2], "step {step}, after it {after}, power cut {power}");
            if !died {
                break;
            }
        }
    }
}

/// `dovecot-keywords` could not be read: what went with the letters was stored, and the letters looked like taken off when
/// it could be read again.
#[test]
fn letters_stripped_while_it_is_not_known_what_letters_mean_come_back() {
    let shared = two_lettered();
    mark_as_read_and_strip(&shared);
    shared.world().mishaps.letters = true;
    sync(&shared);
    shared.world().mishaps.letters = false;
    sync(&shared);
    assert_eq!(both_flags(&shared), ["\\Seen work", "\\Seen work"]);
}

/// What had been stored counted as agreed on, and the letters as taken off by themselves.
#[test]
fn letters_stripped_come_back_although_a_sync_was_struck() {
    for (unknown, (after, power)) in [false, true].into_iter().flat_map(|unknown| STRIKES.map(|how| (unknown, how))) {
        for step in 0.. {
            let shared = two_lettered();
            mark_as_read_and_strip(&shared);
            shared.world().mishaps.letters = unknown;
            let died = dies(&shared, CrashAt { step, after, power });
            shared.world().mishaps.letters = false;
            sync(&shared);
            let expected = ["\\Seen work", "\\Seen work"];
            assert_eq!(both_flags(&shared), expected, "struck {step} {after} {power}, letters unknown: {unknown}");
            if !died {
                break;
            }
        }
    }
}

/// They were taken to mean what they had meant in the one that was removed.
#[test]
fn letters_of_a_maildir_made_anew_mean_nothing_while_it_is_not_known_what() {
    let (shared, archive) = (in_step(Delete::Trash, 0), folder("Archive"));
    shared.world().remote_put(&archive, 1, Kind::Ordinary, DATE, &FlagEdit::new("work", true).flags);
    sync(&shared);
    {
        let mut world = shared.world();
        world.local_remove_folder(&archive);
        world.local_put(&archive, 2, Kind::Ordinary, DATE, Some(&FlagEdit::new("$Junk", true).flags));
        world.mishaps.letters = true;
    }
    sync(&shared);
    shared.world().mishaps.letters = false;
    sync(&shared);
    let world = shared.world();
    for view in [local_view(&world), remote_view(&world)] {
        let flags = view[&archive].iter().find(|seen| seen.id == 2).map(|seen| seen.flags.to_string());
        assert_eq!(flags.as_deref(), Some("$Junk"));
    }
}

/// Without UIDPLUS the first pass could not settle what it had sent: it took note of the new maildir, and not of what letters
/// mean in it. In the second they could not be read, and meant what they had in the one that was removed.
#[test]
fn letters_of_a_maildir_made_anew_mean_nothing_as_long_as_what_they_mean_is_not_recorded() {
    // What left the Maildir stays on the server: nothing has to be fetched, which takes letters.
    let (shared, archive) = (in_step(Delete::Never, 0), folder("Archive"));
    shared.world().server.abilities.uid_plus = false;
    shared.world().remote_put(&archive, 1, Kind::Ordinary, DATE, &FlagEdit::new("work", true).flags);
    sync(&shared);
    {
        let mut world = shared.world();
        world.local_remove_folder(&archive);
        world.local_put(&archive, 2, Kind::Ordinary, DATE, Some(&FlagEdit::new("$Junk", true).flags));
        // From the second pass on.
        world.meanwhile = Some(("append", |world| world.mishaps.letters = true));
    }
    sync(&shared);
    assert!(shared.world().meanwhile.is_none());
    shared.world().mishaps.letters = false;
    sync(&shared);
    let world = shared.world();
    for view in [local_view(&world), remote_view(&world)] {
        let flags = view[&archive].iter().find(|seen| seen.id == 2).map(|seen| seen.flags.to_string());
        assert_eq!(flags.as_deref(), Some("$Junk"));
    }
}

/// No file bore a letter any more: that their list could not be read looked like there being none, so the name not like
/// stripped. What had been stored counted as agreed on with the letters, and these as taken off once it could be read.
#[test]
fn letters_stripped_from_the_last_name_come_back_although_they_are_not_known_after_a_sync_was_struck() {
    for (after, power) in STRIKES {
        for step in 0.. {
            let shared = in_step(Delete::Trash, 1);
            remote_flag(&mut shared.world(), 1, "work", true);
            sync(&shared);
            mark_as_read_and_strip(&shared);
            let died = dies(&shared, CrashAt { step, after, power });
            shared.world().mishaps.letters = true;
            sync(&shared);
            shared.world().mishaps.letters = false;
            sync(&shared);
            assert_eq!(both_flags(&shared), ["\\Seen work", "\\Seen work"], "struck {step} {after} {power}");
            if !died {
                break;
            }
        }
    }
}

/// A run that died could have put them on the name.
#[test]
fn letters_stripped_with_flags_that_a_struck_sync_was_to_bring_come_back() {
    for step in 0.. {
        let shared = in_step(Delete::Trash, 1);
        remote_flag(&mut shared.world(), 1, "work", true);
        sync(&shared);
        remote_flag(&mut shared.world(), 1, "\\Seen", true);
        let died = dies(&shared, CrashAt { step, after: false, power: false });
        let brought = local_view(&shared.world())[&MailboxName::inbox()][0].flags.has(Flag::Seen);
        if !brought {
            mark_as_read_and_strip(&shared);
        }
        sync(&shared);
        assert_eq!(both_flags(&shared), ["\\Seen work", "\\Seen work"], "struck {step}");
        if !died {
            break;
        }
    }
}

/// What our own change takes off a name was not stripped from it.
#[test]
fn a_flag_that_came_as_the_keyword_went_and_was_changed_back_after_a_sync_was_struck_is_as_it_was_left() {
    for (seen, (after, power)) in [true, false].into_iter().flat_map(|seen| STRIKES.map(|how| (seen, how))) {
        for step in 0.. {
            let shared = in_step(Delete::Trash, 1);
            remote_flag(&mut shared.world(), 1, "work", true);
            remote_flag(&mut shared.world(), 1, "\\Seen", !seen);
            sync(&shared);
            remote_flag(&mut shared.world(), 1, "work", false);
            remote_flag(&mut shared.world(), 1, "\\Seen", seen);
            let died = dies(&shared, CrashAt { step, after, power });
            remote_flag(&mut shared.world(), 1, "\\Seen", !seen);
            sync(&shared);
            let flags = if seen { "" } else { "\\Seen" };
            assert_eq!(both_flags(&shared), [flags, flags], "struck {step} {after} {power}");
            if !died {
                break;
            }
        }
    }
}

/// An account with two messages that bear a keyword's letter, one of them with a flag that the server did not take.
fn refused_a_flag() -> Shared {
    let shared = two_lettered();
    shared.world().mishaps.drops = FlagSet::of(&[Flag::Seen]);
    local_flag(&mut shared.world(), 1, "\\Seen", true);
    assert_eq!(codes(&sync(&shared)), ["flag-refused"]);
    shared
}

fn strip_the_refused(shared: &Shared) {
    let unique = file(shared, 1);
    shared.world().local_strip(&MailboxName::inbox(), &unique, &FlagEdit::new("\\Seen", false));
}

/// Tries it with a sync struck at every step, and one after it.
fn after_a_struck_sync(expected: [&str; 2], edit: impl Fn(&Shared)) {
    for (after, power) in STRIKES {
        for step in 0.. {
            let shared = refused_a_flag();
            edit(&shared);
            let died = dies(&shared, CrashAt { step, after, power });
            sync(&shared);
            assert_eq!(both_flags(&shared), expected, "struck {step} {after} {power}");
            if !died {
                break;
            }
        }
    }
}

/// Measured by what the server had taken, the name had nothing else changed: the keyword was taken off.
#[test]
fn letters_stripped_with_a_flag_that_the_server_refused_come_back() {
    after_a_struck_sync(["work", "work"], strip_the_refused);
}

/// Measured so, the flag that only the name has was taken for a change made with it.
#[test]
fn a_keyword_taken_off_beside_a_flag_that_the_server_refused_stays_off() {
    after_a_struck_sync(["\\Seen", ""], |shared| local_flag(&mut shared.world(), 1, "work", false));
}

/// That it had been refused was forgotten with the first look at the name without it.
#[test]
fn letters_stripped_with_a_flag_that_the_server_refused_come_back_once_they_can() {
    let hindrances: [fn(&Shared, bool); 2] = [
        |shared, hinders| shared.world().mishaps.letters = hinders,
        |shared, hinders| {
            let stuck = file(shared, 1);
            shared.world().mishaps.stuck = hinders.then_some(stuck);
        },
    ];
    for (hinder, wait) in hindrances.into_iter().flat_map(|hinder| [0, 2 * 86_400].map(|wait| (hinder, wait))) {
        let shared = refused_a_flag();
        strip_the_refused(&shared);
        shared.world().now.0 += wait;
        hinder(&shared, true);
        sync(&shared);
        hinder(&shared, false);
        sync(&shared);
        assert_eq!(both_flags(&shared), ["work", "work"], "after {wait} s");
    }
}

/// Nothing but the name had it.
#[test]
fn a_keyword_that_the_server_refused_comes_back_when_it_was_stripped() {
    let shared = two_lettered();
    shared.world().mishaps.stores = true;
    local_flag(&mut shared.world(), 1, "later", true);
    assert_eq!(codes(&sync(&shared)), ["flag-refused"]);
    shared.world().mishaps.stores = false;
    mark_as_read_and_strip(&shared);
    sync(&shared);
    shared.world().now.0 += 2 * 86_400;
    sync(&shared);
    assert_eq!(both_flags(&shared), ["\\Seen later work", "\\Seen later work"]);
}
