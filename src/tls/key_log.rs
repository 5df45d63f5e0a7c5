//! The file of session secrets, with which programs such as Wireshark decrypt captures. Written only where it is asked for:
//! the environment alone never turns it on.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::Path,
    sync::{Arc, Mutex},
};

use rustls::KeyLog;

use super::files::shown;
use crate::words::{
    error::{Error, ErrorKind, reason_text},
    lock::EvenPoisoned,
};

/// A file that secrets are appended to, one line each.
#[derive(Debug)]
pub(crate) struct KeyFile(Mutex<File>);

impl KeyFile {
    /// Opens the file. One that is made can be read by its owner alone.
    pub(super) fn open(path: &Path) -> Result<Arc<Self>, Error> {
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path).map_err(|error| {
            let message = format!("keylog {}: {}; give a file that can be written", shown(path), reason_text(&error));
            Error::from_io(ErrorKind::TlsFile, message, error)
        })?;
        if others_may_read(&file) {
            let shown = shown(path);
            let message = format!("keylog {shown}: others may read it, and with it all that is said; chmod 600 {shown}");
            return Err(Error::new(ErrorKind::Tls, message));
        }
        Ok(Arc::new(Self(Mutex::new(file))))
    }
}

/// Returns true for a file that was there before, and that is not its owner's alone.
fn others_may_read(file: &File) -> bool {
    #[cfg(unix)]
    {
        let metadata = file.metadata();
        metadata.is_ok_and(|metadata| {
            metadata.is_file() && std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o077 != 0
        })
    }
    #[cfg(not(unix))]
    {
        let _ = file;
        false
    }
}

impl KeyLog for KeyFile {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let line = format!("{label} {} {}\n", hex(client_random), hex(secret));
        // One write, so that lines of several threads and processes do not mix. A full disk costs the line only.
        let _ = self.0.lock().even_poisoned().write_all(line.as_bytes());
    }
}
