//! The checker, checked on sources made up for it.

use super::*;

fn source(path: &str, text: &str) -> Source {
    Source { path: path.to_owned(), text: text.to_owned() }
}

fn arrows(path: &str, text: &str) -> Vec<String> {
    arrows_upwards(&source(path, text))
}

#[test]
fn reports_every_spelling_of_an_arrow_upwards() {
    let spellings = [
        "use crate::server::Server;",
        "use crate::{words::addr::Address, server::Server};",
        "use crate::{\n    words::error::{Error, ErrorKind},\n    server,\n};",
        "fn f() { crate::server::stop() }",
        "pub(in crate::server) fn f() {}",
        "use super::super::server::Server;",
    ];
    for text in spellings {
        let found = arrows("src/io/stream.rs", text);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].contains("io may not use server"), "{found:?}");
    }
    let expected = "src/words/addr.rs:2: words may not use io, which stands above it";
    assert_eq!(arrows("src/words/addr.rs", "\nuse crate::io::stream;"), [expected]);
    assert_eq!(arrows("src/relay/mod.rs", "use super::server;").len(), 1);
}

#[test]
fn lets_arrows_down_and_across_pass() {
    let below = "use crate::{connection, relay::Relay, io::{listener, stream}, words::error::Error};";
    assert!(arrows("src/server/mod.rs", below).is_empty());
    assert!(arrows("src/relay/copy.rs", "use super::server; use crate::relay; mod tests { use super::*; }").is_empty());
    assert!(arrows("src/words/addr.rs", "mod tests { use super::{Address, parse}; }").is_empty());
    assert!(arrows("src/lib.rs", "pub use crate::server::Server;").is_empty());
}

#[test]
fn reports_what_the_plan_does_not_know() {
    assert!(arrows("src/bridge.rs", "")[0].contains("bridge is no layer"));
    assert!(arrows("src/server/mod.rs", "use crate::Error;")[0].contains("crate::Error is no layer"));
}

#[test]
fn reads_code_and_neither_comments_nor_literals() {
    let text = r##"
        // crate::server, unsafe, pyo3
        /* crate::server /* unsafe */ pyo3 */
        const A: &str = "crate::server \" unsafe pyo3";
        const B: &str = r#"crate::server " unsafe pyo3"#;
        const C: [char; 3] = ['"', '\'', '/'];
        fn f<'a>(_: &'a str) {}
    "##;
    let source = source("src/words/addr.rs", text);
    assert!(arrows_upwards(&source).is_empty());
    assert!(unsafe_outside(&source, &[]).is_empty());
    assert!(names_of_python(&source).is_empty());
}

#[test]
fn reports_unsafe_and_python_in_the_core() {
    let bad = source("src/relay/copy.rs", "use pyo3::Python;\nunsafe { f() }\n#![deny(unsafe_code)]");
    assert_eq!(names_of_python(&bad).len(), 2);
    assert_eq!(unsafe_outside(&bad, &[]), ["src/relay/copy.rs:2: unsafe in a file that is not listed for it"]);
    assert!(unsafe_outside(&bad, &[("src/relay/copy.rs", "reason")]).is_empty());
    assert!(names_of_python(&source("src/python/mod.rs", "use pyo3::Python;")).is_empty());
    assert!(names_of_python(&source("src/lib.rs", "mod python;")).is_empty());
}

#[test]
fn reports_private_paths_and_attaching_in_the_binding() {
    let bad = source("src/python/view.rs", "use crate::{io::sys, words};\nfn f() { Python::attach(|py| ()); crate::relay::x() }");
    assert_eq!(private_paths_of_the_binding(&bad).len(), 2);
    assert_eq!(attaching(&bad), ["src/python/view.rs:2: attaches; only src/python/attach.rs may"]);
    assert_eq!(attaching(&source("src/python/lane.rs", "unsafe { raw::PyGILState_Ensure() }")).len(), 1);
    let good = source("src/python/lane.rs", "use super::attach; use crate::threads::lane; attach::held(f)");
    assert!(private_paths_of_the_binding(&good).is_empty() && attaching(&good).is_empty());
    assert!(attaching(&source("src/python/attach.rs", "Python::attach(f)")).is_empty());
    assert!(private_paths_of_the_binding(&source("src/server/mod.rs", "use crate::io::sys;")).is_empty());
}

#[test]
fn reports_a_file_that_is_too_long() {
    assert!(too_long(&source("src/words/addr.rs", &"\n".repeat(LONGEST_FILE))).is_none());
    assert!(too_long(&source("src/words/addr.rs", &"\n".repeat(LONGEST_FILE + 1))).is_some());
}
