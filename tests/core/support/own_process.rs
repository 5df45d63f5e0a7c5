//! Tests that need a process of their own (a census of descriptors and threads, limits, namespaces): the test
//! binary runs itself again for that one test.

use std::{
    io::Read,
    process::{Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::peers::pass;

const ROLE: &str = "INTERPOSE_TEST_ALONE";
const LIMIT: Duration = Duration::from_secs(50);

/// Runs `body` in a process where nothing else runs. `test` is the path of the calling test.
pub fn alone(test: &str, body: impl FnOnce()) {
    alone_under(&[], test, body);
}

/// The same, with a program in front that prepares the process, such as `unshare`.
pub fn alone_under(wrapper: &[&str], test: &str, body: impl FnOnce()) {
    if std::env::var_os(ROLE).is_some() {
        return body();
    }
    let program = std::env::current_exe().unwrap();
    let (_, test) = test.split_once("::").unwrap();
    let words: Vec<_> = wrapper.iter().map(AsRef::as_ref).chain([program.as_os_str()]).collect();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).args([test, "--exact", "--nocapture", "--test-threads=1"]).env(ROLE, "1");
    let (status, output) = run(&mut command, LIMIT);
    print!("{output}");
    let status = status.unwrap_or_else(|| panic!("{test} in a process of its own took over {LIMIT:?}"));
    assert!(status.success() && output.contains("1 passed"), "{test} in a process of its own: {status}");
}

/// Runs a program to its end. Returns its status, or none if it was killed at the limit, and its output.
pub fn run(command: &mut Command, limit: Duration) -> (Option<ExitStatus>, String) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    thread::scope(|scope| {
        let (mut first, mut second) = (String::new(), String::new());
        let reading = scope.spawn(move || stdout.read_to_string(&mut first).map(|_| first).unwrap());
        let errors = scope.spawn(move || stderr.read_to_string(&mut second).map(|_| second).unwrap());
        let start = Instant::now();
        let status = loop {
            match child.try_wait().unwrap() {
                Some(status) => break Some(status),
                None if start.elapsed() > limit => {
                    child.kill().unwrap();
                    child.wait().unwrap();
                    break None;
                }
                None => pass(Duration::from_millis(5)),
            }
        };
        (status, reading.join().unwrap() + &errors.join().unwrap())
    })
}

/// Whether this machine lets us use the program that prepares the process.
pub fn is_possible(wrapper: &[&str]) -> bool {
    if std::env::var_os(ROLE).is_some() {
        return true;
    }
    let done = Command::new(wrapper[0]).args(&wrapper[1..]).arg("true").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let possible = done.is_ok_and(|status| status.success());
    if !possible {
        println!("not possible here: {wrapper:?}");
    }
    possible
}
