//! Settings made of files, made anew when those change.

use std::{
    fmt,
    path::Path,
    sync::{Arc, Mutex, RwLock},
};

use super::files::Stamp;
use crate::words::{error::Error, lock::EvenPoisoned};

/// A configuration, and the state of its files when they were read.
pub(super) struct Renewed<C> {
    config: RwLock<Arc<C>>,
    stamps: Mutex<Vec<Stamp>>,
}

impl<C> fmt::Debug for Renewed<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renewed").finish_non_exhaustive()
    }
}

impl<C> Renewed<C> {
    /// Makes a configuration with `load`, which reads `files`.
    pub(super) fn load<'a>(
        files: impl Iterator<Item = &'a Path>,
        load: impl FnOnce() -> Result<Arc<C>, Error>,
    ) -> Result<Self, Error> {
        // Before the files are read, so that a change meanwhile is seen.
        let stamps = Mutex::new(files.map(Stamp::of).collect());
        Ok(Self { config: RwLock::new(load()?), stamps })
    }

    /// Returns the newest configuration.
    pub(super) fn get(&self) -> Arc<C> {
        Arc::clone(&self.config.read().even_poisoned())
    }

    /// Makes a configuration anew if any of `files` has changed. Returns `None` if none has; after an error the one that was
    /// made before stays in use.
    pub(super) fn reload_if_changed<'a>(
        &self,
        files: impl Iterator<Item = &'a Path>,
        load: impl FnOnce() -> Result<Arc<C>, Error>,
    ) -> Option<Result<(), Error>> {
        // Held until the new one is in use: one who loads at the same time might put an older one there.
        let mut known = self.stamps.lock().even_poisoned();
        let stamps = files.map(Stamp::of).collect();
        if *known == stamps {
            return None;
        }
        *known = stamps;
        Some(load().map(|config| *self.config.write().even_poisoned() = config))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::words::error::ErrorKind;

    #[test]
    fn a_changed_file_is_read_once_and_one_that_will_not_do_leaves_the_old_one_in_use() {
        let path = std::env::temp_dir().join(format!("interpose-renewed-{}", std::process::id()));
        let files = || [path.as_path()].into_iter();
        let load = || match fs::read_to_string(&path) {
            Ok(text) if text != "broken" => Ok(Arc::new(text)),
            _ => Err(Error::new(ErrorKind::Tls, "it is broken")),
        };
        fs::write(&path, "first").unwrap();
        let renewed = Renewed::load(files(), load).unwrap();
        assert!(renewed.reload_if_changed(files(), load).is_none());
        fs::write(&path, "the second").unwrap();
        assert!(matches!(renewed.reload_if_changed(files(), load), Some(Ok(()))));
        fs::write(&path, "broken").unwrap();
        assert!(matches!(renewed.reload_if_changed(files(), load), Some(Err(_))));
        assert!(renewed.reload_if_changed(files(), load).is_none(), "it is reported once");
        assert_eq!(*renewed.get(), "the second");
        fs::remove_file(&path).unwrap();
        assert!(matches!(renewed.reload_if_changed(files(), load), Some(Err(_))), "a file that has gone has changed");
    }

    #[cfg(unix)]
    #[test]
    fn rights_that_change_let_a_file_be_read_again() {
        use std::os::unix::fs::PermissionsExt;

        let path = std::env::temp_dir().join(format!("interpose-renewed-rights-{}", std::process::id()));
        let files = || [path.as_path()].into_iter();
        fs::write(&path, "text").unwrap();
        let renewed = Renewed::load(files(), || Ok(Arc::new("unread"))).unwrap();
        assert!(renewed.reload_if_changed(files(), || Ok(Arc::new("unchanged"))).is_none());
        let before = Stamp::of(&path);
        // Many systems count the time of a change in ticks of some milliseconds.
        for mode in [0o600, 0o640].into_iter().cycle().take(1000) {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            if Stamp::of(&path) != before {
                break;
            }
            std::thread::yield_now();
        }
        assert!(matches!(renewed.reload_if_changed(files(), || Ok(Arc::new("readable"))), Some(Ok(()))));
        assert_eq!(*renewed.get(), "readable");
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn of_two_who_read_at_once_the_last_to_read_wins() {
        let path = std::env::temp_dir().join(format!("interpose-renewed-twice-{}", std::process::id()));
        let files = || [path.as_path()].into_iter();
        let read = || Ok(Arc::new(fs::read_to_string(&path).unwrap()));
        fs::write(&path, "first").unwrap();
        let renewed = Renewed::load(files(), read).unwrap();
        fs::write(&path, "the second").unwrap();
        let (done, is_done) = std::sync::mpsc::sync_channel(1);
        std::thread::scope(|scope| {
            let other = &renewed;
            renewed.reload_if_changed(files(), || {
                let second = read();
                fs::write(&path, "and the third").unwrap();
                scope.spawn(move || {
                    let reloaded = other.reload_if_changed(files(), read);
                    done.send(()).unwrap();
                    assert!(matches!(reloaded, Some(Ok(()))));
                });
                // The other one must not overtake; it would within this time.
                assert!(is_done.recv_timeout(std::time::Duration::from_millis(200)).is_err());
                second
            });
        });
        assert_eq!(*renewed.get(), "and the third");
        fs::remove_file(&path).unwrap();
    }
}
