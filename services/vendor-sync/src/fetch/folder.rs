//! A drop folder: what lies in it, a file's bytes, and the archive. Blocking.
//!
//! Every step goes from an open folder to a name in it and follows no symbolic link: whoever can write into a folder must not be able to have another file read,
//! or moved, in place of one of theirs.

use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use time::OffsetDateTime;

use super::content::Content;
use crate::model::DropFolder;
use crate::store::SeenFile;

/// Where files go that were taken.
const ARCHIVE: &str = ".archive";
/// How much of a file's name the archive keeps beside the hash, in bytes.
const ARCHIVED_NAME_BYTES_MAX: usize = 180;

/// A file that can be taken, once it is whole.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    /// How it was found.
    pub(super) seen: SeenFile,
    /// Whether its marker lies beside it.
    pub(super) is_marked: bool,
}

/// What lies in a folder.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Files that the pattern means, the oldest first.
    pub(super) candidates: Vec<Candidate>,
    /// What is to be said of others.
    pub(super) notes: Vec<String>,
}

/// Why a file was not taken.
#[derive(Debug)]
pub(super) enum NotTaken {
    /// It is not there any more.
    Gone,
    /// For a reason that people should know.
    Because(String),
}

/// What became of a file that was to be archived.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Archived {
    /// It is in the archive.
    Moved,
    /// The folder cannot be written; it lies where it lay.
    ReadOnly,
    /// Another file lies there now, which stays.
    Replaced,
}

/// An open drop folder.
#[derive(Debug)]
pub(super) struct Folder {
    folder: OwnedFd,
    pattern: String,
    done_suffix: String,
}

impl Folder {
    /// Opens a folder strictly below the root.
    ///
    /// # Errors
    /// Why it cannot be opened, for people.
    pub(super) fn open(root: &Path, drop: &DropFolder) -> Result<Self, String> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut folder = rustix::fs::open(root, flags, Mode::empty())
            .map_err(|errno| format!("the drop root cannot be opened: {}", words(errno)))?;
        if drop.path.is_empty() {
            return Err("the path is empty".to_owned());
        }
        for name in drop.path.split('/') {
            if name.is_empty() || name.starts_with('.') {
                return Err("the path leads out of the drop root".to_owned());
            }
            folder = rustix::fs::openat(&folder, name, flags | OFlags::NOFOLLOW, Mode::empty()).map_err(|errno| {
                match errno {
                    Errno::NOENT => format!("the folder does not exist: {name:?}"),
                    // Linux says NOTDIR of a symbolic link that is to be a folder and not followed.
                    Errno::LOOP | Errno::NOTDIR => {
                        format!("{name:?} is no folder, or a symbolic link, which is not followed")
                    }
                    errno => format!("the folder {name:?} cannot be opened: {}", words(errno)),
                }
            })?;
        }
        Ok(Self { folder, pattern: drop.pattern.clone(), done_suffix: drop.done_suffix.clone() })
    }

    /// What lies in it, of at most so many entries. Names that begin with a dot are nobody's: the archive's, and of transfers under way.
    ///
    /// # Errors
    /// Why it cannot be read, for people.
    pub(super) fn list(&self, entries_max: usize) -> Result<Listing, String> {
        let unreadable = |errno: Errno| format!("the folder cannot be read: {}", words(errno));
        let mut names = std::collections::BTreeSet::new();
        let mut listing = Listing::default();
        for entry in rustix::fs::Dir::read_from(&self.folder).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            match entry.file_name().to_str() {
                Ok(name) if name.starts_with('.') => {}
                Ok(name) if !name.chars().any(char::is_control) => drop(names.insert(name.to_owned())),
                Ok(_) | Err(_) => listing.notes.push("a file's name is not readable text".to_owned()),
            }
            if names.len() > entries_max {
                listing.notes.push(format!("only {entries_max} of its entries were looked at"));
                break;
            }
        }
        for name in &names {
            if self.is_marker(name) || !matches(&self.pattern, name) {
                continue;
            }
            match rustix::fs::statat(&self.folder, name.as_str(), AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => match FileType::from_raw_mode(stat.st_mode) {
                    FileType::RegularFile => {
                        let is_marked =
                            !self.done_suffix.is_empty() && names.contains(&format!("{name}{}", self.done_suffix));
                        listing.candidates.push(Candidate { seen: seen(name, &stat), is_marked });
                    }
                    FileType::Symlink => listing.notes.push(format!("{name}: a symbolic link is not followed")),
                    // A folder within the folder is nobody's file.
                    _ => {}
                },
                Err(Errno::NOENT) => {}
                Err(errno) => listing.notes.push(format!("{name}: {}", words(errno))),
            }
        }
        let age = |candidate: &Candidate| (candidate.seen.modify_time, candidate.seen.file_name.clone());
        listing.candidates.sort_by_key(age);
        Ok(listing)
    }

    fn is_marker(&self, name: &str) -> bool {
        !self.done_suffix.is_empty() && name.ends_with(&self.done_suffix)
    }

    /// A file's bytes, if it is what it was when it was listed, before and after reading.
    ///
    /// # Errors
    /// [`NotTaken`].
    pub(super) fn read(&self, file: &SeenFile, bytes_max: u64) -> Result<Content, NotTaken> {
        let because = |text: String| NotTaken::Because(format!("{}: {text}", file.file_name));
        if u64::try_from(file.size_bytes).unwrap_or(0) > bytes_max {
            return Err(because(format!("{} bytes are more than the {bytes_max} that are taken", file.size_bytes)));
        }
        // NONBLOCK: what was a file a moment ago may be a pipe now.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(&self.folder, file.file_name.as_str(), flags, Mode::empty());
        let opened = match opened {
            Ok(opened) => opened,
            Err(Errno::NOENT) => return Err(NotTaken::Gone),
            Err(errno) => return Err(because(format!("cannot be read: {}", words(errno)))),
        };
        let changed = || because("it changes while it is read; the next look goes on".to_owned());
        let same = |opened: &OwnedFd| {
            let stat = rustix::fs::fstat(opened).map_err(|errno| because(words(errno)))?;
            let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
            if is_file && seen(&file.file_name, &stat) == *file { Ok(()) } else { Err(changed()) }
        };
        same(&opened)?;
        let mut content = Content::new(bytes_max);
        let mut reader = std::fs::File::from(opened);
        let mut buffer = vec![0; 128 * 1024];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(bytes) => content.push(&buffer[..bytes]).map_err(|_| changed())?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(because(format!("cannot be read: {error}"))),
            }
        }
        same(&OwnedFd::from(reader))?;
        if content.bytes() != u64::try_from(file.size_bytes).unwrap_or(0) {
            return Err(changed());
        }
        Ok(content)
    }

    /// Moves a file that was taken into the archive, and drops its marker. The marker goes first: one that was left behind would say of the next file of this
    /// name that it is whole.
    ///
    /// # Errors
    /// Why it could not be moved, for people; it lies where it lay, or in the archive.
    pub(super) fn archive(&self, file: &SeenFile, sha256: &[u8; 32]) -> Result<Archived, String> {
        let name = file.file_name.as_str();
        if !self.done_suffix.is_empty() {
            match rustix::fs::unlinkat(&self.folder, format!("{name}{}", self.done_suffix), AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) if is_read_only(errno) => return Ok(Archived::ReadOnly),
                Err(errno) => return Err(format!("{name}: its marker cannot be removed: {}", words(errno))),
            }
        }
        let archive = match self.open_archive() {
            Ok(archive) => archive,
            Err(errno) if is_read_only(errno) => return Ok(Archived::ReadOnly),
            Err(errno) => return Err(format!("the archive cannot be opened: {}", words(errno))),
        };
        let archived = archived_name(name, sha256);
        match rustix::fs::renameat(&self.folder, name, &archive, archived.as_str()) {
            Ok(()) => {}
            Err(Errno::NOENT) => return Ok(Archived::Replaced),
            Err(errno) if is_read_only(errno) => return Ok(Archived::ReadOnly),
            Err(errno) => return Err(format!("{name}: cannot be archived: {}", words(errno))),
        }
        // A sender may have put the next file in its place since it was read: that one goes back.
        let stat = rustix::fs::statat(&archive, archived.as_str(), AtFlags::SYMLINK_NOFOLLOW);
        if stat.is_ok_and(|stat| seen(name, &stat) == *file) {
            return Ok(Archived::Moved);
        }
        match rustix::fs::linkat(&archive, archived.as_str(), &self.folder, name, AtFlags::empty()) {
            Ok(()) => {
                rustix::fs::unlinkat(&archive, archived.as_str(), AtFlags::empty())
                    .map_err(|errno| format!("{name}: a copy stays in the archive: {}", words(errno)))?;
            }
            // A third one came: it tells more than the second.
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(format!("{name}: a newer file went into the archive: {}", words(errno))),
        }
        Ok(Archived::Replaced)
    }

    fn open_archive(&self) -> Result<OwnedFd, Errno> {
        match rustix::fs::mkdirat(&self.folder, ARCHIVE, Mode::from_raw_mode(0o770)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&self.folder, ARCHIVE, flags, Mode::empty())
    }
}

fn seen(name: &str, stat: &Stat) -> SeenFile {
    let micros = i128::from(stat.st_mtime) * 1_000_000 + i128::from(stat.st_mtime_nsec) / 1000;
    // A time before 1970 or after 9999 is nobody's.
    let modify_time = OffsetDateTime::from_unix_timestamp_nanos(micros.max(0) * 1000);
    SeenFile {
        file_name: name.to_owned(),
        size_bytes: stat.st_size,
        modify_time: modify_time.unwrap_or(OffsetDateTime::UNIX_EPOCH),
    }
}

fn is_read_only(errno: Errno) -> bool {
    matches!(errno, Errno::ROFS | Errno::ACCESS | Errno::PERM)
}

/// What the system says, without a number.
fn words(errno: Errno) -> String {
    match errno {
        Errno::ACCESS | Errno::PERM => "no permission".to_owned(),
        Errno::NOENT => "it does not exist".to_owned(),
        Errno::LOOP => "a symbolic link is not followed".to_owned(),
        errno => io::Error::from(errno).to_string(),
    }
}

fn archived_name(name: &str, sha256: &[u8; 32]) -> String {
    let hash: String = sha256.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut from = name.len().saturating_sub(ARCHIVED_NAME_BYTES_MAX);
    while !name.is_char_boundary(from) {
        from += 1;
    }
    format!("{hash}-{}", &name[from..])
}

/// Whether a name is what a pattern with `*` (any characters) and `?` (one) means; an empty pattern means all.
fn matches(pattern: &str, name: &str) -> bool {
    if pattern.is_empty() {
        return true;
    }
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut in_pattern) = (0, 0);
    // Where to go on after the last star, if what follows it does not fit here.
    let mut star: Option<(usize, usize)> = None;
    while at < name.len() {
        match pattern.get(in_pattern) {
            Some('*') => {
                star = Some((in_pattern + 1, at));
                in_pattern += 1;
            }
            Some(character) if *character == '?' || *character == name[at] => {
                at += 1;
                in_pattern += 1;
            }
            Some(_) | None => match star {
                Some((after, from)) => {
                    star = Some((after, from + 1));
                    (at, in_pattern) = (from + 1, after);
                }
                None => return false,
            },
        }
    }
    pattern[in_pattern..].iter().all(|character| *character == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_shells_mean() {
        for (pattern, name, fits) in [
            ("", "anything", true),
            ("*", "anything", true),
            ("*.csv", "stock.csv", true),
            ("*.csv", "stock.csv.tmp", false),
            ("*.csv", "stock.CSV", false),
            ("stock-????.csv", "stock-2026.csv", true),
            ("stock-????.csv", "stock-226.csv", false),
            ("s*o*k", "stoook", true),
            ("*a*b*c*", "xxaxxbxxcxx", true),
            ("*a*b*c*", "xxaxxcxxbxx", false),
            ("?", "ü", true),
            ("?", "", false),
            ("[ab]", "a", false),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
        assert!(!matches(&"*a".repeat(50), &"a".repeat(49)), "and it does not take for ever");
        assert!(!matches(&format!("{}b", "*a".repeat(100)), &"a".repeat(255)));
    }

    #[test]
    fn an_archived_name_fits_into_a_folder() {
        let name = archived_name(&"ü".repeat(127), &[0xab; 32]);
        assert!(name.len() <= 255 && name.starts_with("abab") && name.ends_with("ü"), "{name}");
        assert!(archived_name("stock.csv", &[0; 32]).ends_with("0-stock.csv"));
    }
}
