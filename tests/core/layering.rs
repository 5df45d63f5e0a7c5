//! The plan of docs/explanation/architecture.md, checked: which module may use which, where `unsafe` may stand,
//! that the core knows nothing of its Python binding, and that no file grows past reading.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use rust_text::{Token, code_tokens};

mod checker;
mod reach;
mod rust_text;
mod use_graph;

/// A folder is a layer. From the lowest to the highest; a file may use its own layer and lower ones.
#[rustfmt::skip]
const LAYERS: &[&str] = &[
    "words", "wire", "matching", "taps", "inspect", "tls", "settings", "io", "threads", "live", "hooks", "relay", "connection",
    "server", "python",
];

/// Arrows upwards that stand for now, each with the reason.
const EXCUSED: &[(&str, &str, &str)] = &[];

/// Folders that the binding may not name.
const PRIVATE: &[&str] = &["io", "relay", "connection"];

/// The files of the binding that may attach a thread to the interpreter.
const ATTACHING: &[&str] = &["src/python/attach.rs"];

/// The files that may contain `unsafe`, each with the reason it cannot do without.
const UNSAFE: &[(&str, &str)] = &[
    ("src/io/sys/linux.rs", "socket options and figures that no safe crate offers"),
    ("src/io/sys/unix.rs", "signal masks, forks, fresh memory and readiness that no safe crate offers"),
    ("src/python/data.rs", "the buffer protocol, which hands out a pointer, and a copy that needs no interpreter"),
    (
        "src/python/view.rs",
        "the buffer protocol, which hands out a pointer, and bytes objects that are written before they are anybody's",
    ),
    ("src/python/filters.rs", "the descriptor of an output, which a script has opened"),
    ("src/python/outgoing.rs", "a script's own socket, whose descriptor Python has"),
    ("src/python/attach.rs", "attaching for the length of a turn, and calls that the interpreter's end may unwind"),
    ("src/python/lane.rs", "the pipe of a signal handler, whose descriptor Python has"),
];

const LONGEST_FILE: usize = 380;

#[test]
fn modules_use_their_own_layer_and_lower_ones() {
    assert_none(sources().iter().flat_map(arrows_upwards));
}

#[test]
fn the_plan_has_no_module_that_does_not_exist() {
    let there: BTreeSet<String> = sources().iter().filter_map(Source::module).collect();
    let missing = LAYERS.iter().filter(|folder| !there.contains(**folder));
    assert_none(missing.map(|folder| format!("{folder}: planned, but not in src")));
}

#[test]
fn only_the_binding_names_python() {
    assert_none(sources().iter().flat_map(names_of_python));
}

#[test]
fn the_binding_reaches_the_core_by_its_public_folders() {
    assert_none(sources().iter().flat_map(private_paths_of_the_binding));
    let root = fs::read_to_string(root().join("src/lib.rs")).expect("lib.rs");
    let public = PRIVATE.iter().filter(|folder| root.contains(&format!("pub mod {folder};")));
    assert_none(public.map(|folder| format!("{folder}: listed as private, but public")));
}

#[test]
fn only_listed_files_of_the_binding_attach() {
    let sources = sources();
    assert_none(sources.iter().flat_map(attaching));
    assert!(ATTACHING.iter().all(|path| sources.iter().any(|source| source.path == *path)));
}

#[test]
fn unsafe_stands_only_where_it_is_listed() {
    let sources = sources();
    assert_none(sources.iter().flat_map(|source| unsafe_outside(source, UNSAFE)));
    let needless =
        UNSAFE.iter().filter(|(path, _)| !sources.iter().any(|source| source.path == *path && !unsafe_lines(source).is_empty()));
    assert_none(needless.map(|(path, _)| format!("{path}: listed, but has no unsafe")));
}

#[test]
fn no_file_is_longer_than_one_can_read() {
    let mut files = Vec::new();
    for folder in ["src", "tests", "python", "benches", "examples"] {
        collect(&root().join(folder), &["rs", "py", "pyi"], &mut files);
    }
    assert!(files.len() > 10, "the walk finds the tree: {files:?}");
    assert_none(files.iter().map(|path| Source::read(path)).filter_map(|source| too_long(&source)));
}

/// One source file: its path from the root of the project, and its text.
struct Source {
    path: String,
    text: String,
}

impl Source {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let path = path.strip_prefix(root()).expect("below the root").to_string_lossy().replace('\\', "/");
        Self { path, text }
    }

    /// The folder it stands in; a file at the root is its own, but lib.rs, which wires them all.
    fn module(&self) -> Option<String> {
        let first = self.path.strip_prefix("src/")?.split('/').next()?.trim_end_matches(".rs");
        (first != "lib").then(|| first.to_owned())
    }

    /// Whether `super` in it is the crate itself.
    fn is_top_level(&self) -> bool {
        self.path.matches('/').count() == 1 || self.path.ends_with("/mod.rs") && self.path.matches('/').count() == 2
    }

    fn at(&self, line: usize, problem: impl AsRef<str>) -> String {
        format!("{}:{line}: {}", self.path, problem.as_ref())
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    collect(&root().join("src"), &["rs"], &mut files);
    assert!(files.len() > 10, "the walk finds the sources: {files:?}");
    files.iter().map(|path| Source::read(path)).collect()
}

fn collect(folder: &Path, endings: &[&str], files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("a readable folder").path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            collect(&path, endings, files);
        } else if path.extension().is_some_and(|ending| endings.iter().any(|known| ending == *known)) {
            files.push(path);
        }
    }
}

fn assert_none(problems: impl Iterator<Item = String>) {
    let problems: Vec<String> = problems.collect();
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|folder| *folder == module)
}

fn arrows_upwards(source: &Source) -> Vec<String> {
    let Some(module) = source.module() else { return Vec::new() };
    let Some(own) = layer(&module) else {
        return vec![source.at(1, format!("{module} is no layer; a file stands in the folder that is its layer"))];
    };
    let judge = |(used, line): (String, usize)| match layer(&used) {
        None => Some(source.at(line, format!("crate::{used} is no layer; name things through their module"))),
        Some(theirs) if theirs > own && !EXCUSED.iter().any(|(from, to, _)| (*from, *to) == (&module, &used)) => {
            Some(source.at(line, format!("{module} may not use {used}, which stands above it")))
        }
        Some(_) => None,
    };
    modules_used(source).into_iter().filter_map(judge).collect()
}

/// The top-level modules that a file names: `crate::x`, `crate::{x, y::z}`, and `super` where that is the crate.
fn modules_used(source: &Source) -> Vec<(String, usize)> {
    let tokens = code_tokens(&source.text);
    let text = |index: usize| tokens.get(index).map_or("", |token| token.text.as_str());
    let mut used = Vec::new();
    for index in 0..tokens.len() {
        let beyond = match (text(index), text(index + 1)) {
            ("crate", "::") => index + 2,
            ("super", "::") if text(index + 2) == "super" => index + 4,
            ("super", "::") if source.is_top_level() && text(index.wrapping_sub(2)) != "super" => index + 2,
            _ => continue,
        };
        let by_super = text(index) == "super";
        for first in first_segments(&tokens, beyond) {
            let name = tokens[first].text.clone();
            // Below `mod tests` in a file, `super` is that file: only names of modules are arrows there.
            let arrow = if by_super { layer(&name).is_some() } else { text(first + 1) != "!" };
            if arrow {
                used.push((name, tokens[first].line));
            }
        }
    }
    used
}

/// Where the first segment stands of each path that a use tree, beginning at `start`, has.
fn first_segments(tokens: &[Token], start: usize) -> Vec<usize> {
    match tokens.get(start) {
        Some(token) if token.is_word() => return vec![start],
        Some(token) if token.text == "{" => {}
        _ => return Vec::new(),
    }
    let mut firsts = Vec::new();
    let mut depth = 1;
    for index in start + 1..tokens.len() {
        let opens_path = depth == 1 && matches!(tokens[index - 1].text.as_str(), "{" | ",");
        match tokens[index].text.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ if opens_path && tokens[index].is_word() => firsts.push(index),
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    firsts
}

fn names_of_python(source: &Source) -> Vec<String> {
    let module = source.module();
    if module.as_deref() == Some("python") {
        return Vec::new();
    }
    let is_root = module.is_none();
    let is_python = |word: &str| {
        let lower = word.to_lowercase();
        lower.starts_with("pyo3") || lower.contains("python") && !(is_root && word == "python")
    };
    let tokens = code_tokens(&source.text).into_iter().filter(|token| is_python(&token.text));
    tokens.map(|token| source.at(token.line, format!("{} in the core; it belongs into src/python", token.text))).collect()
}

/// Arrows from the binding to a private folder of the core: what it needs, an embedding program in Rust can have too.
fn private_paths_of_the_binding(source: &Source) -> Vec<String> {
    if source.module().as_deref() != Some("python") {
        return Vec::new();
    }
    let private = modules_used(source).into_iter().filter(|(used, _)| PRIVATE.contains(&used.as_str()));
    private
        .map(|(used, line)| source.at(line, format!("crate::{used} is private; the core has to offer what is needed")))
        .collect()
}

/// Where a file of the binding attaches a thread to the interpreter, but for those that may.
fn attaching(source: &Source) -> Vec<String> {
    if !source.path.starts_with("src/python/") || ATTACHING.contains(&source.path.as_str()) {
        return Vec::new();
    }
    let tokens = code_tokens(&source.text);
    let words = ["attach", "try_attach", "attach_unchecked", "assume_attached", "PyGILState_Ensure", "with_gil"];
    let is_call = |index: usize| {
        let before = |back: usize| index.checked_sub(back).map_or("", |at| tokens[at].text.as_str());
        words.contains(&tokens[index].text.as_str())
            && (before(2) == "Python" && before(1) == "::" || tokens[index].text.starts_with("PyGIL"))
    };
    let found = (0..tokens.len()).filter(|index| is_call(*index));
    found.map(|index| source.at(tokens[index].line, "attaches; only src/python/attach.rs may")).collect()
}

fn unsafe_lines(source: &Source) -> Vec<usize> {
    code_tokens(&source.text).iter().filter(|token| token.text == "unsafe").map(|token| token.line).collect()
}

fn unsafe_outside(source: &Source, allowed: &[(&str, &str)]) -> Vec<String> {
    if allowed.iter().any(|(path, _)| source.path == *path) {
        return Vec::new();
    }
    unsafe_lines(source).into_iter().map(|line| source.at(line, "unsafe in a file that is not listed for it")).collect()
}

fn too_long(source: &Source) -> Option<String> {
    let lines = source.text.lines().count();
    (lines > LONGEST_FILE).then(|| source.at(lines, format!("{lines} lines; more than {LONGEST_FILE} tell two stories")))
}
