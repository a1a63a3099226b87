//! Whether the files that are written are still the ones that the next start will find.
//!
//! A file that is deleted or replaced while it is open can be written without any error, and all of
//! it is gone at the end. Whoever moves files about does so rarely, so what this costs must be next to
//! nothing: two look-ups a transaction, which ask for no times. To ask for them makes Linux (since 6.13)
//! give the next write a time of its own, and the file's inode is then written with every commit.

use std::io;
use std::path::{Path, PathBuf};

use crate::store::Error;

/// Device and number of a file.
type Identity = (u64, u64);

/// Where a database lies, and which files those were.
pub(super) struct Place {
    database: PathBuf,
    log: PathBuf,
    found: Option<Identity>,
    /// Made anew whenever the last connection is closed.
    found_log: Option<Identity>,
}

impl Place {
    /// Remembers the database that lies at a path now.
    pub(super) fn of(database: &Path) -> Self {
        let mut log = database.as_os_str().to_owned();
        log.push("-wal");
        let found = identity(database).ok();
        Self { database: database.to_path_buf(), log: log.into(), found, found_log: None }
    }

    /// A connection was closed: its write-ahead log may be another one.
    pub(super) fn reopened(&mut self) {
        self.found_log = None;
    }

    /// Refuses unless both files are the ones from before.
    pub(super) fn check(&mut self) -> Result<(), Error> {
        same(&self.database, &mut self.found)?;
        same(&self.log, &mut self.found_log)
    }

    /// Refuses unless the database is the one from before.
    pub(super) fn check_database(&mut self) -> Result<(), Error> {
        same(&self.database, &mut self.found)
    }
}

fn same(path: &Path, known: &mut Option<Identity>) -> Result<(), Error> {
    match (identity(path), *known) {
        (Ok(found), Some(known)) if found == known => Ok(()),
        (Ok(found), None) => {
            *known = Some(found);
            Ok(())
        }
        // A file that never was there cannot be missed.
        (Err(error), None) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        (Err(error), _) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::Unavailable(format!("{}: {error}", path.display())))
        }
        _ => Err(Error::Unavailable(format!(
            "{} was deleted or replaced while in use: put it back, or restart quell",
            path.display()
        ))),
    }
}

#[cfg(target_os = "linux")]
fn identity(path: &Path) -> io::Result<Identity> {
    use rustix::fs::{AtFlags, CWD, StatxFlags, makedev, statx};

    let file = statx(CWD, path, AtFlags::empty(), StatxFlags::INO)?;
    Ok((makedev(file.stx_dev_major, file.stx_dev_minor), file.stx_ino))
}

#[cfg(not(target_os = "linux"))]
fn identity(path: &Path) -> io::Result<Identity> {
    use std::os::unix::fs::MetadataExt;

    std::fs::metadata(path).map(|file| (file.dev(), file.ino()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_that_is_moved_away_or_replaced_is_missed() {
        let folder = tempfile::tempdir().unwrap();
        let (path, aside) = (folder.path().join("quell.db"), folder.path().join("aside"));
        fs::write(&path, "a").unwrap();
        let mut place = Place::of(&path);
        place.check().unwrap();
        fs::rename(&path, &aside).unwrap();
        assert!(place.check().unwrap_err().to_string().contains("was deleted or replaced"));
        fs::write(&path, "b").unwrap();
        assert!(place.check().is_err());
        fs::rename(&aside, &path).unwrap();
        place.check().unwrap();
    }

    #[test]
    fn the_log_may_be_another_one_after_reopening_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("quell.db");
        let log = folder.path().join("quell.db-wal");
        fs::write(&path, "a").unwrap();
        fs::write(&log, "a").unwrap();
        let mut place = Place::of(&path);
        place.check().unwrap();
        fs::rename(&log, folder.path().join("aside")).unwrap();
        assert!(place.check().is_err());
        fs::write(&log, "b").unwrap();
        assert!(place.check().is_err());
        place.reopened();
        place.check().unwrap();
    }
}
