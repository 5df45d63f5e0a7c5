//! Names that a layer may not use, and circles between files.

use std::collections::BTreeSet;

use super::{
    Source, assert_none,
    rust_text::code_tokens,
    sources,
    use_graph::{Modules, circles},
};

/// Circles that stand for now: the beginnings of the paths of all files in one, and the reason. A file may know its children;
/// a child that knows its parent as well makes a circle of the two.
const EXCUSED_CIRCLES: &[(&[&str], &str)] = &[];

/// Folders of values and rules, which need neither a runtime nor a socket.
const PURE: &[&str] = &["src/words/", "src/wire/", "src/inspect/"];

/// The modules of `io` that the relay may name: streams, their TLS handshakes, what an errno means, and limits of time.
const RELAY_MAY_USE: &[&str] = &["stream", "handshake", "errno", "deadline"];

#[test]
fn no_files_need_each_other() {
    let sources = sources();
    let is_excused =
        |files: &BTreeSet<&str>, all: &[&str]| files.iter().all(|file| all.iter().any(|start| file.starts_with(start)));
    let circles = circles(&sources);
    let files: Vec<BTreeSet<&str>> = circles.iter().map(|circle| circle.keys().copied().collect()).collect();
    let unexcused =
        circles.iter().zip(&files).filter(|(_, files)| !EXCUSED_CIRCLES.iter().any(|(all, _)| is_excused(files, all)));
    assert_none(unexcused.map(|(circle, _)| {
        let arrows: Vec<&str> = circle.values().flatten().map(String::as_str).collect();
        format!("these files need each other:\n  {}", arrows.join("\n  "))
    }));
    let needless = EXCUSED_CIRCLES.iter().filter(|(all, _)| !files.iter().any(|files| is_excused(files, all)));
    assert_none(needless.map(|(all, _)| format!("{all:?}: excused, but there is no such circle any more; remove the row")));
}

#[test]
fn pure_layers_name_no_runtime_and_no_socket() {
    assert_none(sources().iter().flat_map(names_of_io));
}

#[test]
fn the_relay_reaches_sockets_through_streams_only() {
    let sources = sources();
    let modules = Modules::new(&sources);
    assert_none(modules.sources().flat_map(|source| beside_streams(&modules, source)));
}

#[test]
fn the_binding_reaches_the_core_by_public_paths_only() {
    let sources = sources();
    let modules = Modules::new(&sources);
    assert_none(modules.sources().flat_map(|source| private_paths(&modules, source)));
}

fn names_of_io(source: &Source) -> Vec<String> {
    if !PURE.iter().any(|folder| source.path.starts_with(folder)) {
        return Vec::new();
    }
    let is_io = |word: &str| matches!(word, "tokio" | "socket2") || word.starts_with("Tcp") || word.starts_with("Udp");
    let tokens = code_tokens(&source.text).into_iter().filter(|token| is_io(&token.text));
    tokens.map(|token| source.at(token.line, format!("{} in a layer of values and rules", token.text))).collect()
}

/// Returns the names of the relay's that lead to a socket past its stream.
fn beside_streams(modules: &Modules<'_>, source: &Source) -> Vec<String> {
    if !source.path.starts_with("src/relay/") {
        return Vec::new();
    }
    let is_beside = |segments: &[String]| match segments {
        [first, module, ..] => first == "io" && !RELAY_MAY_USE.contains(&module.as_str()),
        _ => false,
    };
    let paths = modules.paths(source).into_iter().filter(|path| is_beside(&path.segments));
    let mut found: Vec<String> =
        paths.map(|path| source.at(path.line, format!("{}; a relay has streams", path.segments.join("::")))).collect();
    let text = outside_tests(&source.text);
    let tokens =
        code_tokens(text).into_iter().filter(|token| matches!(token.text.as_str(), "socket2" | "net" | "rustix" | "libc"));
    found.extend(tokens.map(|token| source.at(token.line, format!("{}; a relay has streams", token.text))));
    found
}

/// Returns a file's text before its tests.
fn outside_tests(text: &str) -> &str {
    let tests = ["\n#[cfg(test)]\nmod tests", "\n#[cfg(all(test"];
    text.split(tests[0]).next().and_then(|text| text.split(tests[1]).next()).unwrap_or(text)
}

/// Returns the paths of a file of the binding's that lead through a module, or to an item, that is not public. Methods are
/// beyond this check.
fn private_paths(modules: &Modules<'_>, source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    if !source.path.starts_with("src/python/") {
        return found;
    }
    for path in modules.paths(source) {
        let (Some((_, inside)), Some(first)) = (modules.resolve(&path.segments), path.segments.first()) else { continue };
        if first == "python" {
            continue;
        }
        // From the root on: each module, and the item behind the last.
        let known = path.segments.len() - inside.len();
        let checked = known + usize::from(!inside.is_empty());
        let is_private = |end: &usize| {
            let (parent, name) = (&path.segments[..end - 1], &path.segments[end - 1]);
            modules.file(parent).is_some_and(|file| !public_names(&file.text).contains(name))
        };
        if let Some(end) = (1..=checked).find(is_private) {
            found.push(source.at(path.line, format!("crate::{} is not public", path.segments[..end].join("::"))));
        }
    }
    found
}

/// Returns the names that a file makes public: items, modules, and items of others.
fn public_names(text: &str) -> BTreeSet<String> {
    let tokens = code_tokens(text);
    let text = |index: usize| tokens.get(index).map_or("", |token| token.text.as_str());
    let mut names = BTreeSet::new();
    for index in (0..tokens.len()).filter(|index| text(*index) == "pub") {
        let mut at = index + 1;
        while matches!(text(at), "const" | "async" | "unsafe") && tokens.get(at + 1).is_some_and(|next| next.text == "fn") {
            at += 1;
        }
        if text(at) == "use" {
            let end = (at..tokens.len()).find(|end| text(*end) == ";").unwrap_or(tokens.len());
            names
                .extend((at + 1..end).filter(|name| matches!(text(name + 1), "," | "}" | ";")).map(|name| text(name).to_owned()));
        } else if matches!(text(at), "struct" | "enum" | "trait" | "type" | "const" | "static" | "mod" | "fn") {
            names.insert(text(at + 1).to_owned());
        }
    }
    names
}

/// The checkers, checked on sources made up for them.
mod checker {
    use super::*;

    fn made_up(files: &[(&str, &str)]) -> Vec<Source> {
        files.iter().map(|(path, text)| Source { path: (*path).to_owned(), text: (*text).to_owned() }).collect()
    }

    /// Returns the circles of these files, each as the names of its files.
    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let sources = made_up(files);
        circles(&sources).iter().map(|circle| circle.keys().copied().collect::<Vec<_>>().join(" ")).collect()
    }

    #[test]
    fn finds_circles_of_any_length_in_any_spelling() {
        let two = [("src/io/a.rs", "use crate::io::b::B;"), ("src/io/b.rs", "fn f() { super::a::g() }")];
        assert_eq!(found(&two), ["src/io/a.rs src/io/b.rs"]);
        let three = [
            ("src/io/a.rs", "use crate::{io::{c, b::{self, B}}, words};"),
            ("src/io/b.rs", "use super::{\n    c::{C, D as E},\n};"),
            ("src/io/c.rs", "const A: u8 = crate::io::a::A;"),
        ];
        assert_eq!(found(&three), ["src/io/a.rs src/io/b.rs src/io/c.rs"]);
        let inline = [("src/io/a.rs", "mod linux { use super::super::b; }"), ("src/io/b.rs", "use super::a::linux;")];
        assert_eq!(found(&inline), ["src/io/a.rs src/io/b.rs"]);
    }

    #[test]
    fn a_parent_and_its_child_are_a_circle_if_each_knows_the_other() {
        let child = ("src/io/b.rs", "use super::Stream;");
        assert_eq!(found(&[("src/io/mod.rs", "mod b; use b::f;"), child]), ["src/io/b.rs src/io/mod.rs"]);
        assert_eq!(found(&[("src/io/mod.rs", "mod b; fn g() { b::f() }"), child]), ["src/io/b.rs src/io/mod.rs"]);
        assert_eq!(found(&[("src/io/mod.rs", "mod b; pub use self::b::*;"), child]), ["src/io/b.rs src/io/mod.rs"]);
        assert!(found(&[("src/io/mod.rs", "pub mod b;"), child]).is_empty(), "a declaration is no use");
    }

    #[test]
    fn ways_that_lead_nowhere_back_are_no_circles() {
        let tree = [
            ("src/io/mod.rs", "mod a; mod b; use self::{a::A, b::B};"),
            ("src/io/a.rs", "use super::b::B; use crate::words::addr;"),
            ("src/io/b.rs", "pub(in crate::io) fn f() { self.a::<u8>(); std::io::a::f(); }\nmod linux { use super::f; }"),
            (
                "src/words/addr.rs",
                "#[cfg(test)]\nmod tests { use crate::io::a; }\n#[cfg(all(test, unix))]\nmod more { use crate::io; }",
            ),
        ];
        assert_eq!(found(&tree), [""; 0]);
    }

    #[test]
    fn says_at_which_lines_a_circle_is_made() {
        let sources = made_up(&[("src/io/a.rs", "\nuse super::b::B;"), ("src/io/b.rs", "use super::a::A;")]);
        let arrows: Vec<String> = circles(&sources)[0].values().flatten().cloned().collect();
        assert_eq!(arrows, ["src/io/a.rs:2 uses src/io/b.rs", "src/io/b.rs:1 uses src/io/a.rs"]);
    }

    #[test]
    fn reports_runtimes_and_sockets_in_pure_layers() {
        let named = |path, text| names_of_io(&made_up(&[(path, text)])[0]).len();
        assert_eq!(named("src/words/chunk.rs", "use tokio::io::ReadBuf; use std::net::{TcpStream, UdpSocket};"), 3);
        assert_eq!(named("src/inspect/chain.rs", "fn f(_: socket2::Socket) {}"), 1);
        assert_eq!(named("src/words/addr.rs", "use std::net::SocketAddr; // tokio"), 0);
        assert_eq!(named("src/io/listener.rs", "use tokio::net::TcpListener;"), 0);
    }

    #[test]
    fn reports_a_relay_that_passes_by_its_streams() {
        let io = [("src/io/mod.rs", ""), ("src/io/stream.rs", ""), ("src/io/sys.rs", ""), ("src/io/listener.rs", "")];
        let named = |text: &str| {
            let sources = made_up(&[&io[..], &[("src/relay/pump.rs", text)]].concat());
            let modules = Modules::new(&sources);
            modules.sources().flat_map(|source| beside_streams(&modules, source)).count()
        };
        assert_eq!(named("use crate::io::{stream::Stream, sys::NO_SIGNAL};\nfn f() { crate::io::listener::bind() }"), 2);
        assert_eq!(named("use std::net::TcpStream; use socket2::Socket;"), 2);
        assert_eq!(named("use crate::io::{stream::{Socket, Stream}, errno};\n#[cfg(test)]\nmod tests { use std::net; }"), 0);
    }

    #[test]
    fn reports_private_paths_of_the_binding() {
        let core = [
            ("src/lib.rs", "pub mod words; mod io; mod python;"),
            ("src/words/mod.rs", "pub mod addr; pub use addr::{Other, third};"),
            ("src/words/addr.rs", "pub struct Address; pub(crate) fn parse() {} pub const fn all() {}"),
            ("src/io/mod.rs", "pub fn listen() {}"),
        ];
        let named = |text: &str| {
            let sources = made_up(&[&core[..], &[("src/python/mod.rs", text)]].concat());
            let modules = Modules::new(&sources);
            modules.sources().flat_map(|source| private_paths(&modules, source)).collect::<Vec<_>>()
        };
        assert_eq!(named("\nuse crate::io::listen;"), ["src/python/mod.rs:2: crate::io is not public"]);
        assert_eq!(
            named("use crate::words::addr::{self, parse};"),
            ["src/python/mod.rs:1: crate::words::addr::parse is not public"]
        );
        assert!(named("use crate::words::{Other, third, addr::{Address, all}}; use crate::python::x;").is_empty());
    }
}
