//! Where a sink writes: a descriptor that others may have made non-blocking.

use std::{
    fs::File,
    io::{self, Write},
};

/// An open file, pipe or terminal. A write waits until it is taken, on the thread of the sink.
#[derive(Debug)]
pub struct Output(File);

impl Output {
    /// Returns the output of an open descriptor.
    pub fn new(file: File) -> Self {
        Self(file)
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.0.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => wait_writable(&self.0)?,
                written => return written,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
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
