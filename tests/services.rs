//! The services in `contrib`, checked by the programs that are to read them.

use std::fs;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Copies the units to a directory, with this program in the place of the one that is to be adapted.
fn units(dir: &Path) -> Vec<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/systemd");
    let copy = |unit: fs::DirEntry| {
        let text = fs::read_to_string(unit.path()).unwrap();
        let here = dir.join(unit.file_name());
        fs::write(&here, text.replace("%h/.cargo/bin/mailtide", env!("CARGO_BIN_EXE_mailtide"))).unwrap();
        here
    };
    fs::read_dir(source).unwrap().map(|unit| copy(unit.unwrap())).collect()
}

#[test]
fn systemd_has_nothing_to_say_against_its_units() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = dir.path().join("runtime");
    fs::DirBuilder::new().mode(0o700).create(&runtime).unwrap();
    let units = units(dir.path());
    assert_eq!(units.len(), 3);
    let mut verify = Command::new("systemd-analyze");
    verify.args(["--user", "verify"]).args(&units).env("XDG_RUNTIME_DIR", runtime);
    let Ok(checked) = verify.output() else {
        writeln!(std::io::stderr(), "skipped: there is no systemd-analyze").unwrap();
        return;
    };
    // What it does not know it only warns of.
    let told = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success() && told.is_empty(), "{told}");
}
