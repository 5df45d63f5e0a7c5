//! Secrets of TLS for a capture: the lines that come to a key log while it is written.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use crate::words::error::{Error, ErrorKind, printable, reason_text};

/// Maximum bytes of one line. The longest has two numbers of 48 bytes, and the name of its kind.
const LONGEST: usize = 1024;

/// Maximum bytes of one look.
const AT_ONCE: u64 = 1024 * 1024;

/// A key log that others write (`SSLKEYLOGFILE`), or this process. Only what comes to it from now on is of interest: sessions
/// that were before are not in the capture.
#[derive(Debug)]
pub struct Keys {
    path: PathBuf,
    read: u64,
    /// The beginning of a line whose end is not written yet.
    rest: Vec<u8>,
}

impl Keys {
    /// Looks at the end of a key log. It may be made later.
    pub fn at_end_of(path: &Path) -> Result<Self, Error> {
        // Opening a pipe would wait for its writer.
        let read =
            match fs::metadata(path).and_then(|about| if about.is_file() { File::open(path)?.metadata() } else { Ok(about) }) {
                Ok(about) if about.is_dir() => return Err(refused(path, &io::ErrorKind::IsADirectory.into())),
                Ok(about) if !about.is_file() => {
                    let name = printable(&path.display().to_string());
                    let message = format!("keys {name}: it is a pipe or a device, and cannot be looked at again; give a file");
                    return Err(Error::new(ErrorKind::Config, message));
                }
                Ok(about) => about.len(),
                Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
                Err(error) => return Err(refused(path, &error)),
            };
        Ok(Self { path: path.to_owned(), read, rest: Vec::new() })
    }

    /// Returns lines that have come since the last look, of a part of the file: none when all were looked at. A file that cannot be
    /// read now may be read later.
    pub(super) fn look(&mut self) -> Vec<u8> {
        self.read_on().unwrap_or_default()
    }

    /// Returns true if the file has bytes that were not looked at.
    pub(super) fn has_more(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|about| about.is_file() && about.len() > self.read)
    }

    fn read_on(&mut self) -> io::Result<Vec<u8>> {
        let about = fs::metadata(&self.path)?;
        let length = about.len();
        if length == self.read || !about.is_file() {
            return Ok(Vec::new());
        }
        if length < self.read {
            // It was begun anew.
            self.read = 0;
            self.rest.clear();
        }
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.read))?;
        let read = file.take(AT_ONCE).read_to_end(&mut self.rest)?;
        self.read += read as u64;
        let whole = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        let lines = self.rest.drain(..whole).collect::<Vec<_>>();
        self.rest.truncate(LONGEST);
        let secrets: Vec<&[u8]> = lines.split_inclusive(|byte| *byte == b'\n').filter(|line| is_secret(line)).collect();
        Ok(secrets.concat())
    }
}

/// Returns true for a line with the name of a kind and two numbers: nothing else of the file comes into a capture.
fn is_secret(line: &[u8]) -> bool {
    let line = line.trim_ascii_end();
    let parts: Vec<_> = line.split(|byte| *byte == b' ').collect();
    let is_name = |part: &[u8]| !part.is_empty() && part.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    let is_number = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_hexdigit);
    line.len() < LONGEST && matches!(parts[..], [name, random, secret] if is_name(name) && is_number(random) && is_number(secret))
}

fn refused(path: &Path, error: &io::Error) -> Error {
    let remedy = match error.kind() {
        io::ErrorKind::IsADirectory => "give a file, not a folder",
        io::ErrorKind::PermissionDenied => "let this user read it",
        _ => "give a file that can be read",
    };
    let name = printable(&path.display().to_string());
    Error::new(ErrorKind::Config, format!("keys {name}: {}; {remedy}", reason_text(error)))
}

#[cfg(test)]
mod tests {
    use std::{env, io::Write};

    use super::*;

    struct Log(PathBuf);

    impl Log {
        fn new(name: &str) -> Self {
            Self(env::temp_dir().join(format!("interpose-keys-{}-{name}", std::process::id())))
        }

        fn append(&self, text: &str) {
            let mut file = File::options().append(true).create(true).open(&self.0).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }
    }

    impl Drop for Log {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }

    #[test]
    fn only_whole_lines_that_came_later_are_secrets() {
        let log = Log::new("later");
        log.append("OLD 01 02\n");
        let mut keys = Keys::at_end_of(&log.0).unwrap();
        assert!(keys.look().is_empty());
        log.append("# a comment\nCLIENT_RANDOM 0a 0");
        assert!(keys.look().is_empty());
        log.append("b\r\npassword: secret\nA_1 ff FF\n");
        assert_eq!(keys.look(), b"CLIENT_RANDOM 0a 0b\r\nA_1 ff FF\n");
        assert!(keys.look().is_empty());
    }

    #[test]
    fn a_log_may_be_made_later_and_begun_anew() {
        let log = Log::new("anew");
        let mut keys = Keys::at_end_of(&log.0).unwrap();
        assert!(keys.look().is_empty());
        log.append("A 01 02\nB 03 04\n");
        assert_eq!(keys.look().len(), 16);
        fs::write(&log.0, "C 05 06\n").unwrap();
        assert_eq!(keys.look(), b"C 05 06\n");
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_is_refused_and_not_waited_for() {
        let log = Log::new("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&log.0).status().unwrap().success());
        assert!(Keys::at_end_of(&log.0).unwrap_err().to_string().ends_with("cannot be looked at again; give a file"));
    }

    #[test]
    fn a_line_without_an_end_is_not_held_for_ever() {
        let log = Log::new("long");
        let mut keys = Keys::at_end_of(&log.0).unwrap();
        for _ in 0..10 {
            log.append(&"a".repeat(100_000));
            assert!(keys.look().is_empty() && keys.rest.len() <= LONGEST);
        }
        assert!(Keys::at_end_of(&env::temp_dir()).unwrap_err().to_string().ends_with("give a file, not a folder"));
    }
}
