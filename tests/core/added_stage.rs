//! The stage that CONTRIBUTING.md adds, its worked example: made to a copy of the crate, it compiles, and its test passes.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::support::{folder::Folder, own_process::run};

const HEADING: &str = "\n## Add a stage\n";
/// As many lines as fit on one screen.
const SCREEN: usize = 45;
const LIMIT: Duration = Duration::from_secs(300);

#[test]
fn the_worked_example_adds_its_stage() {
    let built = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let copy = built.join("worked_example");
    let _ = fs::remove_dir_all(&copy);
    for name in ["Cargo.toml", "Cargo.lock", "src"] {
        copy_all(&root().join(name), &copy.join(name));
    }
    apply(&example(), &copy).unwrap_or_else(|problem| panic!("the diff of CONTRIBUTING.md does not apply: {problem}"));

    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["test", "--locked", "--lib", "inspect::upper_case::"]).current_dir(&copy);
    // Beside what this test was built from, whose dependencies are the copy's too.
    cargo.env("CARGO_TARGET_DIR", built.parent().expect("the target directory"));
    // The copy alone is built faster; other settings would build its dependencies again.
    cargo.args(["--config", "profile.test.package.interpose-core.opt-level=0"]);
    let (status, output) = run(&mut cargo, LIMIT);
    let passed = status.is_some_and(|status| status.success()) && output.contains("test result: ok. 1 passed");
    assert!(passed, "the crate with the example of CONTRIBUTING.md: {status:?}\n{output}");
}

#[test]
fn the_worked_example_fits_on_one_screen() {
    assert!(example().lines().count() <= SCREEN);
}

#[test]
fn a_diff_that_does_not_apply_is_reported_with_its_place() {
    let folder = Folder::new();
    let copy = folder.path("");
    fs::write(copy.join("a.rs"), "one\ntwo\none\n").unwrap();
    let refused = |diff: &str| apply(diff, &copy).unwrap_err();
    assert_eq!(refused("--- a.rs\n@@\n-three\n+four\n"), "a.rs: the hunk fits in 0 places:\n-three\n+four\n");
    assert!(refused("--- a.rs\n@@\n one\n+four\n").starts_with("a.rs: the hunk fits in 2 places"));
    assert!(refused("--- a.rs\n@@\n+four\n").starts_with("a.rs: the hunk fits in 0 places"), "a new file is there already");
    assert!(refused("--- b.rs\n@@\n-one\n").starts_with("b.rs: the hunk fits in 0 places"), "a file is not there");
    apply("--- a.rs\n@@\n one\n-two\n+four\n--- b.rs\n@@\n+new\n", &copy).unwrap();
    let text = |name: &str| fs::read_to_string(copy.join(name)).unwrap();
    assert_eq!((text("a.rs"), text("b.rs")), ("one\nfour\none\n".to_owned(), "new\n".to_owned()));
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the first diff below the heading.
fn example() -> String {
    let page = fs::read_to_string(root().join("CONTRIBUTING.md")).expect("CONTRIBUTING.md").replace("\r\n", "\n");
    let (_, section) = page.split_once(HEADING).expect("the heading");
    let (_, diff) = section.split_once("```diff\n").expect("a diff");
    diff.split_once("```").expect("the end of the diff").0.to_owned()
}

fn copy_all(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let name = entry.unwrap().file_name();
            copy_all(&from.join(&name), &to.join(&name));
        }
    } else {
        fs::create_dir_all(to.parent().expect("a folder")).unwrap();
        // Written anew, so that cargo sees that it is new.
        fs::write(to, fs::read(from).unwrap()).unwrap();
    }
}

/// Makes the change. Each hunk must have one place where it fits; one that only adds is a new file.
fn apply(diff: &str, tree: &Path) -> Result<(), String> {
    for change in format!("\n{diff}").split("\n--- ").skip(1) {
        let (name, hunks) = change.split_once('\n').unwrap_or((change, ""));
        let file = tree.join(name);
        let mut text = fs::read_to_string(&file).ok().map(|text| text.replace("\r\n", "\n"));
        for hunk in format!("{}\n", hunks.trim_end_matches('\n')).split("@@\n").filter(|hunk| !hunk.is_empty()) {
            let (before, after) = (lines_with(" -", hunk), lines_with(" +", hunk));
            let places = match &text {
                None => usize::from(before.is_empty()),
                Some(_) if before.is_empty() => 0,
                Some(text) => text.matches(&before).count(),
            };
            if places != 1 {
                return Err(format!("{name}: the hunk fits in {places} places:\n{hunk}"));
            }
            text = Some(text.map_or_else(|| after.clone(), |text| text.replace(&before, &after)));
        }
        fs::write(file, text.unwrap_or_default()).map_err(|error| format!("{name}: {error}"))?;
    }
    Ok(())
}

/// Returns the lines of a hunk that have one of the marks, without it. An empty line may have lost its blank.
fn lines_with(marks: &str, hunk: &str) -> String {
    let lines = hunk.lines().map(|line| if line.is_empty() { " " } else { line });
    lines.filter(|line| line.starts_with(|mark| marks.contains(mark))).map(|line| format!("{}\n", &line[1..])).collect()
}
