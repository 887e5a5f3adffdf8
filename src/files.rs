//! Files that others change while the server runs: certificates, and keys of sites.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// Files, as they looked last.
#[derive(Debug)]
pub struct Watched {
    files: Vec<PathBuf>,
    seen: Vec<Looks>,
}

/// What tells one state of a file from another: its inode, size and time; none where there is no file. By inode too: what
/// is put in place by renaming, or by a symbolic link as in Kubernetes, may have any time.
type Looks = Option<(u64, u64, i64, i64)>;

impl Watched {
    /// These files, as they look now. Best begun before they are read: a change in between is seen then.
    pub fn new(files: &[&Path]) -> Self {
        let files: Vec<_> = files.iter().map(|file| file.to_path_buf()).collect();
        Watched { seen: files.iter().map(|file| looks(file)).collect(), files }
    }

    /// Waits until one of them looks another way.
    pub async fn changed(&mut self) {
        loop {
            tokio::time::sleep(LOOK).await;
            let now: Vec<_> = self.files.iter().map(|file| looks(file)).collect();
            if now != self.seen {
                self.seen = now;
                return;
            }
        }
    }
}

fn looks(file: &Path) -> Looks {
    let about = std::fs::metadata(file).ok()?;
    Some((about.ino(), about.size(), about.mtime(), about.mtime_nsec()))
}
