//! Which file uses which, read from their text: every path that begins at the crate, at a parent or at a child module.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Source,
    rust_text::{Token, code_tokens},
};

/// A path that code names, from the crate's root on, and its line.
pub(super) struct Path {
    pub(super) segments: Vec<String>,
    pub(super) line: usize,
}

/// The files of the crate by their modules.
pub(super) struct Modules<'a>(BTreeMap<Vec<String>, &'a Source>);

impl<'a> Modules<'a> {
    pub(super) fn new(sources: &'a [Source]) -> Self {
        Self(sources.iter().filter_map(|source| Some((module_of(&source.path)?, source))).collect())
    }

    pub(super) fn sources(&self) -> impl Iterator<Item = &'a Source> {
        self.0.values().copied()
    }

    /// Returns the file of the last module on a path, and the path of an item in that file.
    pub(super) fn resolve<'p>(&self, path: &'p [String]) -> Option<(&'a Source, &'p [String])> {
        (0..=path.len()).rev().find_map(|end| self.0.get(&path[..end]).map(|source| (*source, &path[end..])))
    }

    /// Returns the file of a module.
    pub(super) fn file(&self, module: &[String]) -> Option<&'a Source> {
        self.0.get(module).copied()
    }

    /// Returns the files that a file uses, each with the first line that does. The file's own tests do not count, nor do
    /// declarations of modules, which say only where a file stands.
    pub(super) fn used_by(&self, source: &Source) -> BTreeMap<&'a str, usize> {
        let mut used = BTreeMap::new();
        for path in self.paths(source) {
            if let Some((file, _)) = self.resolve(&path.segments)
                && file.path != source.path
            {
                used.entry(file.path.as_str()).or_insert(path.line);
            }
        }
        used
    }

    /// Returns the paths that a file names outside of its tests.
    pub(super) fn paths(&self, source: &Source) -> Vec<Path> {
        let Some(file) = module_of(&source.path) else { return Vec::new() };
        let tokens = code_tokens(&source.text);
        let text = |index: usize| tokens.get(index).map_or("", |token| token.text.as_str());
        let (mut found, mut inline, mut depth, mut index) = (Vec::new(), Vec::new(), 0, 0);
        while index < tokens.len() {
            match text(index) {
                "mod" if text(index + 2) == "{" => {
                    if is_of_tests(&tokens, index) {
                        index = closing(&tokens, index + 2);
                    } else {
                        inline.push((depth, text(index + 1).to_owned()));
                    }
                }
                "{" => depth += 1,
                "}" => {
                    depth -= 1;
                    inline.pop_if(|(opened, _)| *opened == depth);
                }
                first if text(index + 1) == "::" && !matches!(text(index.wrapping_sub(1)), "::" | "in" | ".") => {
                    let mut module = file.clone();
                    module.extend(inline.iter().map(|(_, name)| name.clone()));
                    if self.is_start(first, &module) {
                        let start = found.len();
                        index = follow(&tokens, index, &Vec::new(), &mut found);
                        found[start..].iter_mut().for_each(|path| path.segments = absolute(&module, &path.segments));
                        continue;
                    }
                }
                _ => {}
            }
            index += 1;
        }
        found
    }

    fn is_start(&self, word: &str, module: &[String]) -> bool {
        let child: Vec<String> = module.iter().cloned().chain([word.to_owned()]).collect();
        matches!(word, "crate" | "super" | "self") || self.0.contains_key(&child)
    }
}

/// Returns the module of a file in `src`.
fn module_of(path: &str) -> Option<Vec<String>> {
    let inside = path.strip_prefix("src/")?.trim_end_matches(".rs").trim_end_matches("/mod");
    Some(if inside == "lib" { Vec::new() } else { inside.split('/').map(str::to_owned).collect() })
}

/// Reads a path, or a tree of them, that begins at `index`. Returns where it ends.
fn follow(tokens: &[Token], mut index: usize, before: &[String], found: &mut Vec<Path>) -> usize {
    let text = |index: usize| tokens.get(index).map_or("", |token| token.text.as_str());
    let mut segments = before.to_vec();
    let line = tokens.get(index).map_or(0, |token| token.line);
    while tokens.get(index).is_some_and(Token::is_word) {
        // `self` at the end of a tree is the module that the tree is of.
        if text(index) != "self" || segments.is_empty() {
            segments.push(text(index).to_owned());
        }
        index += 1;
        if text(index) != "::" {
            break;
        }
        index += 1;
        if text(index) == "{" {
            let end = closing(tokens, index);
            index += 1;
            while index < end {
                index = if tokens[index].is_word() { follow(tokens, index, &segments, found) } else { index + 1 };
            }
            return end + 1;
        }
    }
    if text(index) == "as" {
        index += 2;
    }
    found.push(Path { segments, line });
    index
}

/// Returns a path from the root on, as code in `module` names it.
fn absolute(module: &[String], path: &[String]) -> Vec<String> {
    let (mut base, mut rest) = (module.to_vec(), path);
    while let Some((first, after)) = rest.split_first() {
        match first.as_str() {
            "crate" => base.clear(),
            "super" => drop(base.pop()),
            "self" => {}
            _ => break,
        }
        rest = after;
    }
    base.extend_from_slice(rest);
    base
}

/// Returns where the brace that opens at `index` closes.
fn closing(tokens: &[Token], index: usize) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(index) {
        match token.text.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    tokens.len()
}

/// Returns true for a module of tests: one that is compiled for them only.
fn is_of_tests(tokens: &[Token], index: usize) -> bool {
    let before = &tokens[..index];
    let Some(attribute) = before.iter().rposition(|token| token.text == "#") else { return false };
    let attribute = &before[attribute..];
    attribute.last().is_some_and(|token| token.text == "]") && attribute.iter().any(|token| token.text == "test")
}

/// Returns each set of files that need each other, as their paths with the lines that make the circle.
pub(super) fn circles(sources: &[Source]) -> Vec<BTreeMap<&str, Vec<String>>> {
    let modules = Modules::new(sources);
    let uses: BTreeMap<&str, BTreeMap<&str, usize>> =
        modules.sources().map(|source| (source.path.as_str(), modules.used_by(source))).collect();
    let reached: BTreeMap<&str, BTreeSet<&str>> = uses.keys().map(|file| (*file, reach(&uses, file))).collect();
    let (mut found, mut seen) = (Vec::new(), BTreeSet::new());
    for (file, reach) in &reached {
        if !reach.contains(file) || seen.contains(file) {
            continue;
        }
        let circle: BTreeSet<&str> = reach.iter().copied().filter(|other| reached[other].contains(file)).collect();
        let inside = |file: &str| uses[file].iter().filter(|(used, _)| circle.contains(*used));
        let arrows = |file: &str| inside(file).map(|(used, line)| format!("{file}:{line} uses {used}")).collect();
        found.push(circle.iter().map(|file| (*file, arrows(file))).collect());
        seen.extend(circle);
    }
    found
}

/// Returns every file that is used from `file` on, itself only if a way leads back.
fn reach<'a>(uses: &BTreeMap<&'a str, BTreeMap<&'a str, usize>>, file: &str) -> BTreeSet<&'a str> {
    let (mut reached, mut next): (BTreeSet<&str>, Vec<&str>) = (BTreeSet::new(), uses[file].keys().copied().collect());
    while let Some(file) = next.pop() {
        if reached.insert(file) {
            next.extend(uses.get(file).into_iter().flat_map(|used| used.keys().copied()));
        }
    }
    reached
}
