//! The files of a capture: one, or a row of them that begin anew by size or time.

use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions},
    io::{self, Seek, SeekFrom, Write},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::{
    wire::capture::batch::Batch,
    words::error::{Error, ErrorKind, printable, reason_text},
};

/// Where a capture is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A file.
    Path(PathBuf),
    /// Standard output.
    Output,
}

/// When the next file begins, and which are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rotation {
    /// The number of bytes behind which a file ends.
    pub size: Option<u64>,
    /// The time after which a file ends, with the next packet.
    pub after: Option<Duration>,
    /// The number of files that are kept: the oldest are removed.
    pub keep: Option<NonZeroUsize>,
}

impl Rotation {
    fn is_wanted(&self) -> bool {
        self.size.is_some() || self.after.is_some()
    }
}

/// The file that is written, and those before it.
#[derive(Debug)]
pub struct Files {
    target: Target,
    rotation: Rotation,
    file: File,
    /// Bytes in the file, all of them whole blocks.
    written: u64,
    began: Instant,
    number: u64,
    older: VecDeque<PathBuf>,
}

impl Files {
    /// Opens the first file, which is its owner's alone.
    pub fn open(target: Target, rotation: Rotation) -> Result<Self, Error> {
        if target == Target::Output && rotation.is_wanted() {
            let message = "capture to standard output: it cannot begin anew; leave out the rotation, or give a file";
            return Err(Error::new(ErrorKind::Config, message));
        }
        let path = path(&target, &rotation, 1);
        let file = opened(path.as_deref()).map_err(|error| fault(path.as_deref(), error))?;
        let older = path.into_iter().filter(|_| rotation.is_wanted()).collect();
        Ok(Self { target, rotation, file, written: 0, began: Instant::now(), number: 1, older })
    }

    /// Returns true if the next packet belongs into the next file.
    pub fn is_full(&self, waiting: usize) -> bool {
        let size = self.written + waiting as u64;
        self.rotation.size.is_some_and(|most| size >= most)
            || self.rotation.after.is_some_and(|most| self.began.elapsed() >= most)
    }

    /// Begins the next file.
    pub fn begin_next(&mut self) -> io::Result<()> {
        let path = path(&self.target, &self.rotation, self.number + 1);
        self.file = opened(path.as_deref())?;
        (self.written, self.began, self.number) = (0, Instant::now(), self.number + 1);
        self.older.extend(path);
        while self.rotation.keep.is_some_and(|most| self.older.len() > most.get()) {
            if let Some(oldest) = self.older.pop_front() {
                // One that somebody has taken away is gone as well.
                let _ = fs::remove_file(oldest);
            }
        }
        Ok(())
    }

    /// Writes blocks. If that fails, the file ends behind the last whole ones.
    pub fn write(&mut self, batch: &mut Batch) -> io::Result<()> {
        let length = batch.len() as u64;
        let result = batch.write_to(&mut self.file);
        match result {
            Ok(()) => self.written += length,
            Err(_) if self.is_regular() => drop(self.file.set_len(self.written)),
            Err(_) => {}
        }
        result
    }

    /// Writes over bytes of the file that were written before.
    pub(super) fn write_over(&mut self, place: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(place))?;
        self.file.write_all(bytes)?;
        self.file.seek(SeekFrom::Start(self.written)).map(drop)
    }

    /// Returns the error of a first write that failed.
    pub(super) fn unwritten(&self, error: io::Error) -> Error {
        fault(self.older.back().map(PathBuf::as_path).or(self.path()), error)
    }

    fn path(&self) -> Option<&Path> {
        match &self.target {
            Target::Path(path) => Some(path),
            Target::Output => None,
        }
    }

    /// Returns true if it can be gone back in the file.
    pub(super) fn is_regular(&self) -> bool {
        matches!(self.target, Target::Path(_)) && self.file.metadata().is_ok_and(|about| about.is_file())
    }
}

/// Returns the path of a file: as it was given, or for a row of files with number and time, as Wireshark names its sets.
fn path(target: &Target, rotation: &Rotation, number: u64) -> Option<PathBuf> {
    let Target::Path(path) = target else { return None };
    if !rotation.is_wanted() {
        return Some(path.clone());
    }
    let mut name = path.file_stem().unwrap_or_default().to_os_string();
    name.push(format!("_{number:05}_{}", stamp(SystemTime::now())));
    if let Some(ending) = path.extension() {
        name.push(".");
        name.push(ending);
    }
    Some(path.with_file_name(name))
}

/// Returns a time as `20260131235959`, in UTC.
fn stamp(at: SystemTime) -> String {
    let seconds = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (days, time) = (seconds / 86_400, seconds % 86_400);
    // Years begin in March here, so that a leap day is the last of one; eras have 400 years.
    let shifted = days + 719_468;
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, year) = if month < 10 { (month + 3, era * 400 + year) } else { (month - 9, era * 400 + year + 1) };
    format!("{year:04}{month:02}{day:02}{:02}{:02}{:02}", time / 3600, time / 60 % 60, time % 60)
}

fn opened(path: Option<&Path>) -> io::Result<File> {
    let Some(path) = path else { return output() };
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    private(&mut options, path);
    let file = options.open(path)?;
    keep_private(&file)?;
    Ok(file)
}

#[cfg(unix)]
fn output() -> io::Result<File> {
    Ok(rustix::io::dup(io::stdout())?.into())
}

#[cfg(not(unix))]
fn output() -> io::Result<File> {
    use std::os::windows::io::AsHandle;

    Ok(io::stdout().as_handle().try_clone_to_owned()?.into())
}

#[cfg(unix)]
fn private(options: &mut OpenOptions, path: &Path) {
    use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};

    options.mode(0o600);
    // A named pipe that is opened for both does not wait for its reader.
    let is_pipe = fs::metadata(path).is_ok_and(|about| about.file_type().is_fifo());
    options.read(is_pipe);
}

#[cfg(not(unix))]
fn private(_: &mut OpenOptions, _: &Path) {}

/// Takes the rights of others away from a file that was there before.
#[cfg(unix)]
fn keep_private(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;

    let about = file.metadata()?;
    if about.is_file() && about.permissions().mode() & 0o077 != 0 {
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
    }
    Ok(())
}

#[cfg(not(unix))]
fn keep_private(_: &File) -> io::Result<()> {
    Ok(())
}

fn fault(path: Option<&Path>, error: io::Error) -> Error {
    let name = path.map_or_else(|| "standard output".to_owned(), |path| printable(&path.display().to_string()));
    let remedy = match error.kind() {
        io::ErrorKind::NotFound => "make its folder first",
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => "give a file in a folder that you may write to",
        io::ErrorKind::IsADirectory => "give a file, not a folder",
        io::ErrorKind::StorageFull => "make room, or give a file on another disk",
        _ => "give another file",
    };
    Error::from_io(ErrorKind::Config, format!("capture {name}: {}; {remedy}", reason_text(&error)), error)
}

#[cfg(test)]
mod tests {
    use std::env;

    use super::*;

    /// A folder that is removed with all that is in it.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = env::temp_dir().join(format!("interpose-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn names(&self) -> Vec<String> {
            let mut names: Vec<_> = fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names.into_iter().map(|name| name.into_string().unwrap()).collect()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn batch(bytes: usize) -> Batch {
        let mut batch = Batch::default();
        batch.payload(vec![7; bytes].into());
        batch
    }

    #[test]
    fn the_next_file_has_a_number_and_the_oldest_are_removed() {
        let folder = Folder::new("rotation");
        let rotation = Rotation { size: Some(100), after: None, keep: NonZeroUsize::new(2) };
        let mut files = Files::open(Target::Path(folder.0.join("a.b.pcapng")), rotation).unwrap();
        for number in 1..=4 {
            assert!(!files.is_full(99) && files.is_full(100));
            files.write(&mut batch(60)).unwrap();
            files.write(&mut batch(60)).unwrap();
            assert!(files.is_full(0));
            let names = folder.names();
            assert_eq!(names.len(), 2.min(number));
            let last = names.last().unwrap();
            assert!(last.starts_with(&format!("a.b_{number:05}_20")) && last.ends_with(".pcapng"), "{last}");
            files.begin_next().unwrap();
        }
    }

    #[test]
    fn a_file_ends_by_its_time_too() {
        let folder = Folder::new("time");
        let rotation = Rotation { after: Some(Duration::ZERO), ..Rotation::default() };
        assert!(Files::open(Target::Path(folder.0.join("a")), rotation).unwrap().is_full(0));
        assert!(!Files::open(Target::Path(folder.0.join("a")), Rotation::default()).unwrap().is_full(usize::MAX));
        assert!(Files::open(Target::Output, rotation).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_file_is_its_owners_alone_also_if_it_was_there() {
        use std::os::unix::fs::PermissionsExt;

        let folder = Folder::new("rights");
        let path = folder.0.join("a.pcapng");
        fs::write(&path, "what was there").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        for path in [path, folder.0.join("new")] {
            let _files = Files::open(Target::Path(path.clone()), Rotation::default()).unwrap();
            let about = fs::metadata(&path).unwrap();
            assert_eq!((about.permissions().mode() & 0o777, about.len()), (0o600, 0));
        }
    }

    #[test]
    fn what_cannot_be_opened_is_an_error_of_one_line_with_its_remedy() {
        let folder = Folder::new("errors");
        let missing = Files::open(Target::Path(folder.0.join("no/a.pcapng")), Rotation::default()).unwrap_err();
        assert!(missing.to_string().ends_with("make its folder first"), "{missing}");
        let is_folder = Files::open(Target::Path(folder.0.clone()), Rotation::default()).unwrap_err();
        assert!(is_folder.to_string().ends_with("give a file, not a folder"), "{is_folder}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_an_error_of_the_write() {
        let mut files = Files::open(Target::Path("/dev/full".into()), Rotation::default()).unwrap();
        let error = files.write(&mut batch(10)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert!(files.unwritten(error).to_string().contains("/dev/full"));
    }

    #[test]
    fn a_time_is_written_as_a_date() {
        for (seconds, text) in [
            (0, "19700101000000"),
            (951_782_399, "20000228235959"),
            (951_782_400, "20000229000000"),
            (951_868_800, "20000301000000"),
            (1_709_251_199, "20240229235959"),
            (1_735_689_599, "20241231235959"),
            (4_107_542_400, "21000301000000"),
        ] {
            assert_eq!(stamp(UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
    }
}
