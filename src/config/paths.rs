//! Where files are: `~/` in the configuration, and the places of the XDG base directory specification.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;

/// The directories that paths start from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// The home directory, for `~/`.
    pub home: PathBuf,
    /// `$XDG_CONFIG_HOME/mailtide/config.toml`
    pub config: PathBuf,
    /// `$XDG_STATE_HOME/mailtide`
    pub state: PathBuf,
}

impl Places {
    /// Returns the places of the user who runs this, or `None` if the system does not know a home directory.
    pub fn of_user() -> Option<Self> {
        let base = etcetera::choose_base_strategy().ok()?;
        let state = base.state_dir().unwrap_or_else(|| base.home_dir().join(".local/state"));
        Some(Self {
            home: base.home_dir().to_owned(),
            config: base.config_dir().join("mailtide/config.toml"),
            state: state.join("mailtide"),
        })
    }

    /// Returns the configuration file to use: the one asked for, else `MAILTIDE_CONFIG`, else the usual place.
    pub fn config_file(&self, asked: Option<PathBuf>, environment: Option<OsString>) -> PathBuf {
        let environment = environment.filter(|path| !path.is_empty()).map(PathBuf::from);
        asked.or(environment).unwrap_or_else(|| self.config.clone())
    }

    /// Returns the path that a text of the configuration means: absolute, or `~/` below the home directory. `None` for
    /// any other: a relative path would depend on where the program is started.
    pub fn expand(&self, text: &str) -> Option<PathBuf> {
        let path = match text.strip_prefix("~/") {
            Some(below) => self.home.join(below.trim_start_matches('/')),
            None => PathBuf::from(text),
        };
        (path.is_absolute() && !text.contains('\0')).then_some(path)
    }
}

/// Returns the path with symlinks resolved as far as it exists, so that two paths can be compared.
pub(super) fn resolve(path: &Path) -> PathBuf {
    let mut missing = Vec::new();
    let mut at = path;
    loop {
        match (at.canonicalize(), at.parent(), at.file_name()) {
            (Ok(real), _, _) => return missing.into_iter().rev().fold(real, |path, part| path.join(part)),
            (Err(_), Some(parent), Some(part)) => {
                missing.push(part);
                at = parent;
            }
            (Err(_), _, _) => return path.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> Places {
        Places { home: "/home/me".into(), config: "/c/config.toml".into(), state: "/s".into() }
    }

    #[test]
    fn only_absolute_and_home_paths_are_paths() {
        let expand = |text| places().expand(text);
        assert_eq!(expand("~/Mail/work"), Some("/home/me/Mail/work".into()));
        assert_eq!(expand("/var/mail"), Some("/var/mail".into()));
        for bad in ["Mail", "", "~", "~other/Mail", "./x", "/a\0b"] {
            assert_eq!(expand(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn the_command_line_beats_the_environment_beats_the_usual_place() {
        let file =
            |asked: Option<&str>, env: Option<&str>| places().config_file(asked.map(Into::into), env.map(Into::into));
        assert_eq!(file(Some("/a"), Some("/b")), PathBuf::from("/a"));
        assert_eq!(file(None, Some("/b")), PathBuf::from("/b"));
        assert_eq!(file(None, Some("")), PathBuf::from("/c/config.toml"));
    }

    #[test]
    fn paths_are_resolved_as_far_as_they_exist() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().canonicalize().unwrap();
        std::os::unix::fs::symlink(&real, real.join("link")).unwrap();
        assert_eq!(resolve(&real.join("link/x/y")), real.join("x/y"));
    }
}
