//! Where a sink writes: a descriptor that others may have made non-blocking, and to which other sinks may write.

use std::{
    fs::File,
    io::{self, Write},
    sync::{Arc, Mutex, Weak},
};

use crate::{taps::servers::Servers, words::lock::EvenPoisoned};

/// An open file, pipe or terminal. A write waits until it is taken, on the thread of the sink.
#[derive(Debug)]
pub struct Output {
    file: File,
    common: Arc<Common>,
}

/// The part that all outputs of this process to one file have in common.
#[derive(Debug, Default)]
struct Common {
    servers: Mutex<Servers>,
    /// Held while one of them writes: lines of several are not mixed.
    writing: Mutex<()>,
}

/// The device and the number of a file.
type Identity = (u64, u64);

/// The files that outputs write to.
static OPEN: Mutex<Vec<(Identity, Weak<Common>)>> = Mutex::new(Vec::new());

impl Output {
    /// Returns the output of an open descriptor.
    pub fn new(file: File) -> Self {
        let common = identity(&file).map(common_of).unwrap_or_default();
        Self { file, common }
    }

    /// Returns the number of a server among those whose connections this process shows in the file.
    pub(super) fn number(&self, server: u32) -> u64 {
        self.common.servers.lock().even_poisoned().number(server)
    }

    /// Writes whole lines, which are not mixed with those of another output to the same file.
    pub(super) fn write_lines(&mut self, lines: &[u8]) -> io::Result<()> {
        let common = Arc::clone(&self.common);
        let _alone = common.writing.lock().even_poisoned();
        self.write_all(lines)?;
        self.flush()
    }
}

fn common_of(file: Identity) -> Arc<Common> {
    let mut open = OPEN.lock().even_poisoned();
    open.retain(|(_, common)| common.strong_count() > 0);
    if let Some(common) = open.iter().find(|(other, _)| *other == file).and_then(|(_, common)| common.upgrade()) {
        return common;
    }
    let common = Arc::default();
    open.push((file, Arc::downgrade(&common)));
    common
}

#[cfg(unix)]
fn identity(file: &File) -> Option<Identity> {
    use std::os::unix::fs::MetadataExt;

    file.metadata().ok().map(|about| (about.dev(), about.ino()))
}

#[cfg(not(unix))]
fn identity(_: &File) -> Option<Identity> {
    None
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.file.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => wait_writable(&self.file)?,
                written => return written,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(unix)]
fn wait_writable(file: &File) -> io::Result<()> {
    use rustix::event::{PollFd, PollFlags, poll};

    match poll(&mut [PollFd::new(file, PollFlags::OUT)], None) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(unix))]
fn wait_writable(_: &File) -> io::Result<()> {
    std::thread::sleep(std::time::Duration::from_millis(5));
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use std::{io::Read, os::fd::OwnedFd, thread};

    use rustix::{
        fs::{OFlags, fcntl_setfl},
        pipe::pipe,
    };

    use super::*;

    #[test]
    fn outputs_to_one_file_count_servers_together_as_long_as_one_is_open() {
        let (_reader, writer) = pipe().expect("a pipe");
        let output = |writer: &OwnedFd| Output::new(writer.try_clone().expect("a descriptor").into());
        let (one, same) = (output(&writer), output(&writer));
        let (_other_reader, other) = pipe().expect("a pipe");
        assert_eq!((one.number(7), same.number(9), one.number(9), same.number(7)), (1, 2, 2, 1));
        assert_eq!(output(&other).number(9), 1);
        drop((one, same));
        assert_eq!(output(&writer).number(9), 1);
    }

    #[test]
    fn lines_of_several_outputs_to_a_pipe_are_whole() {
        const LINES: usize = 30;
        let (reader, writer) = pipe().expect("a pipe");
        let write = |byte: u8| {
            let mut output = Output::new(writer.try_clone().expect("a descriptor").into());
            let mut line = vec![byte; 50_000];
            line.push(b'\n');
            let write = move || (0..LINES).try_for_each(|_| output.write_lines(&line));
            thread::Builder::new().spawn(write).expect("a thread")
        };
        let writing = [write(b'a'), write(b'b')];
        drop(writer);
        let mut read = Vec::new();
        File::from(reader).read_to_end(&mut read).expect("it is open");
        for one in writing {
            one.join().expect("it ends").expect("it is read");
        }
        let lines = read.split_inclusive(|byte| *byte == b'\n');
        let is_whole = |line: &&[u8]| line.len() == 50_001 && line[..50_000].iter().all(|byte| *byte == line[0]);
        assert_eq!(lines.filter(is_whole).count(), 2 * LINES);
    }

    #[test]
    fn a_pipe_that_is_full_and_non_blocking_is_waited_for() {
        let (reader, writer): (OwnedFd, OwnedFd) = pipe().expect("a pipe");
        fcntl_setfl(&writer, OFlags::NONBLOCK).expect("it becomes non-blocking");
        let mut output = Output::new(writer.into());
        let write = move || output.write_all(&vec![7; 1024 * 1024]);
        let writing = thread::Builder::new().spawn(write).expect("a thread");
        let mut read = Vec::new();
        File::from(reader).read_to_end(&mut read).expect("it is open");
        assert!(writing.join().expect("it ends").is_ok() && read.len() == 1024 * 1024);
    }
}
