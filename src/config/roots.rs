//! Directories that must not lie in one another: Maildir roots, and the state directory.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::error::Flaw;
use super::paths::resolve;

/// An account's root with its place in the configuration.
#[derive(Debug)]
pub(super) struct Placed<'a> {
    /// The account.
    pub(super) account: &'a str,
    /// Its root.
    pub(super) root: &'a Path,
    /// Where the configuration says so.
    pub(super) span: Range<usize>,
}

/// Checks that no root is or lies in another, and that no root holds the state directory or lies in it: mail of one
/// account would be taken for mail of another, and recoverable mail for mail.
pub(super) fn check(placed: &[Placed<'_>], state_dir: &Path) -> Result<(), Flaw> {
    let resolved: Vec<PathBuf> = placed.iter().map(|place| resolve(place.root)).collect();
    let state_dir = resolve(state_dir);
    for (at, (place, root)) in placed.iter().zip(&resolved).enumerate() {
        if overlap(root, &state_dir) {
            return Err(place.flaw("and the state directory lie in one another"));
        }
        for (other, other_root) in placed.iter().zip(&resolved).take(at) {
            if root == other_root {
                return Err(place.flaw(&format!("is also the root of account {}", other.account)));
            }
            if overlap(root, other_root) {
                return Err(place.flaw(&format!("and the root of account {} lie in one another", other.account)));
            }
        }
    }
    Ok(())
}

fn overlap(one: &Path, other: &Path) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

impl Placed<'_> {
    fn flaw(&self, what: &str) -> Flaw {
        let message = format!("the Maildir root {} of account {} {what}", self.root.display(), self.account);
        Flaw::new(self.span.clone(), message, "give it a directory of its own with maildir.path")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(roots: &[&str], state_dir: &str) -> Result<(), String> {
        let placed: Vec<Placed<'_>> =
            roots.iter().map(|root| Placed { account: "x", root: Path::new(root), span: 0..0 }).collect();
        check(&placed, Path::new(state_dir)).map_err(|flaw| flaw.message)
    }

    #[test]
    fn only_directories_apart_are_accepted() {
        assert_eq!(checked(&["/no/Mail/a", "/no/Mail/ab"], "/no/state"), Ok(()));
        for (roots, state) in [
            (&["/no/Mail/a", "/no/Mail/a/"][..], "/no/state"),
            (&["/no/Mail", "/no/Mail/a"], "/no/state"),
            (&["/no/Mail/a", "/no/Mail"], "/no/state"),
            (&["/no/Mail"], "/no/Mail/state"),
            (&["/no/state/Mail"], "/no/state"),
        ] {
            assert!(checked(roots, state).is_err(), "{roots:?}");
        }
    }
}
