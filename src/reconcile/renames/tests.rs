use proptest::prelude::*;

use super::*;

fn name(text: &str) -> MailboxName {
    MailboxName::parse(text).unwrap()
}

fn step(id: i64, from: &str, to: &str) -> Step {
    Step { mailbox: MailboxId(id), from: name(from), to: name(to) }
}

fn taken(names: &[&str]) -> BTreeSet<MailboxName> {
    names.iter().map(|text| name(text)).collect()
}

fn ordered(wanted: &[Step], names: &[&str]) -> (Vec<(String, String)>, usize) {
    let (steps, blocked) = order(wanted.to_vec(), &taken(names));
    (steps.iter().map(|step| (step.from.to_string(), step.to.to_string())).collect(), blocked.len())
}

fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect()
}

#[test]
fn a_chain_is_followed_from_its_free_end() {
    let wanted = [step(1, "A", "B"), step(2, "B", "C")];
    assert_eq!(ordered(&wanted, &["A", "B"]), (pairs(&[("B", "C"), ("A", "B")]), 0));
}

#[test]
fn an_exchange_goes_by_way_of_a_third_name() {
    let wanted = [step(1, "A", "B"), step(2, "B", "A")];
    let expected = [("A", "mailtide-swap-1"), ("B", "A"), ("mailtide-swap-1", "B")];
    assert_eq!(ordered(&wanted, &["A", "B"]), (pairs(&expected), 0));
}

#[test]
fn nothing_is_put_below_a_folder_that_is_about_to_go() {
    let wanted = [step(1, "A", "B"), step(2, "A/x", "B/x"), step(3, "B", "C")];
    let expected = [("B", "C"), ("A", "B"), ("A/x", "B/x")];
    assert_eq!(ordered(&wanted, &["A", "A/x", "B"]), (pairs(&expected), 0));
}

#[test]
fn an_exchange_comes_before_what_lies_below() {
    let wanted = [step(1, "A", "B"), step(2, "A/x", "B/x"), step(3, "B", "A"), step(4, "B/y", "A/y")];
    let expected = [("A", "mailtide-swap-1"), ("B", "A"), ("mailtide-swap-1", "B"), ("A/x", "B/x"), ("B/y", "A/y")];
    assert_eq!(ordered(&wanted, &["A", "A/x", "B", "B/y"]), (pairs(&expected), 0));
}

#[test]
fn a_name_that_somebody_else_has_is_not_taken() {
    let wanted = [step(1, "A", "B"), step(2, "C", "A")];
    assert_eq!(ordered(&wanted, &["A", "B", "C"]), (vec![], 2));
}

#[test]
fn those_below_a_renamed_folder_are_carried() {
    let done = [step(1, "A", "B"), step(2, "B/x", "C")];
    assert_eq!(carried(&name("A/x/y"), &done), name("C/y"));
    assert_eq!(carried(&name("AB"), &done), name("AB"));
}

#[test]
fn only_names_with_a_number_are_swap_names() {
    assert!(is_swap(&swap_name(MailboxId(7)).unwrap()));
    assert!(is_swap(&name("mailtide-swap-7/a")), "it went along");
    for other in ["mailtide-swap-x", "Swap/mailtide-swap-7", "mailtide-swap-x/7"] {
        assert!(!is_swap(&name(other)), "{other}");
    }
}

proptest! {
    /// Carried out in order, no step finds its new name taken, and all that was wanted has come about.
    #[test]
    fn any_permutation_of_names_comes_about(targets in Just((0..7usize).collect::<Vec<_>>()).prop_shuffle(), free in 0..3usize) {
        let names: Vec<String> = (0..7).map(|n| format!("f{n}")).collect();
        let held = 7 - free;
        let wanted: Vec<Step> = (0..held)
            .filter(|at| targets[*at] != *at)
            .map(|at| step(at as i64, &names[at], &names[targets[at]]))
            .collect();
        let mut there: BTreeMap<MailboxName, usize> = (0..held).map(|at| (name(&names[at]), at)).collect();
        let (steps, blocked) = order(wanted.clone(), &there.keys().cloned().collect());
        prop_assert!(blocked.is_empty());
        for step in steps {
            let folder = there.remove(&step.from).unwrap();
            prop_assert!(there.insert(step.to.clone(), folder).is_none(), "{} was taken", step.to);
        }
        for step in wanted {
            prop_assert_eq!(there.get(&step.to).copied(), usize::try_from(step.mailbox.0).ok());
        }
    }
}
