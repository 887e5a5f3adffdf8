//! The machine: open files, and the disk that the data directory is on.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{statfs, statvfs},
    process::{Resource, getrlimit},
};

use super::report::Report;
use crate::{
    config::{Config, Store},
    server::OTHER_FILES,
};

/// Streams that a server is expected to have room for.
const STREAMS: u64 = 10_000;
/// Free space of which there is little, and too little, in bytes.
const LITTLE: u64 = 1 << 30;
const TOO_LITTLE: u64 = 64 << 20;
/// What `statfs(2)` says of file systems (linux/magic.h) that are somebody else's machine: SQLite's locks and shared
/// memory do not hold there (sqlite.org/wal.html).
const REMOTE: [(u64, &str); 8] = [
    (0x6969, "NFS"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB"),
    (0x517b, "SMB"),
    (0x0102_1997, "9P"),
    (0x00c3_6400, "Ceph"),
    (0x5346_414f, "AFS"),
    (0x6573_5546, "FUSE"),
];
/// Those that end with the machine or the container.
const FLEETING: [(u64, &str); 3] =
    [(0x0102_1994, "tmpfs"), (0x8584_58f6, "ramfs"), (0x794c_7630, "overlayfs")];

pub(super) fn examine(config: &Config, report: &mut Report) {
    files(report);
    // Many pods keep nothing on their own disks.
    if matches!(config.store(), Ok(Store::Alone)) {
        data(&config.data, report);
        secret(&config.secret_file(), report);
    }
}

fn files(report: &mut Report) {
    // The server raises its limit as far as it may.
    let most = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let streams = most.saturating_sub(OTHER_FILES as u64);
    let text = format!("{most} open files are allowed here: {streams} streams at once");
    if streams < STREAMS {
        let advice = "raise it for the server (LimitNOFILE= of systemd, --ulimit nofile= of a container)";
        report.warn("machine", format!("{text}; {advice}"));
    } else {
        report.ok("machine", text);
    }
}

fn data(data: &Path, report: &mut Report) {
    let Some(there) = existing(data) else {
        return report.fail("data", format!("{} can be made nowhere", data.display()));
    };
    let shown = data.display();
    match try_to_write(&there) {
        Ok(()) if there == data => report.ok("data", format!("{shown} can be written")),
        Ok(()) => report.ok("data", format!("{shown} is not there yet, and can be made")),
        Err(e) => {
            return report
                .fail("data", format!("nothing can be written in {}: {e}. Whose is it?", there.display()));
        }
    }
    if let Ok(space) = statvfs(&there) {
        let free = space.f_bavail.saturating_mul(space.f_frsize);
        let text = format!("{} MiB are free there", free >> 20);
        if free < TOO_LITTLE {
            report.fail("data", format!("{text}: what people say will not be taken for long"));
        } else if free < LITTLE {
            report.warn("data", format!("{text}: make room, or let go of what is old (--keep)"));
        } else {
            report.ok("data", text);
        }
    }
    if let Ok(system) = statfs(&there) {
        // A number of 32 bits, signed or not.
        let kind = u64::from(system.f_type as u32);
        let name = |kinds: &[(u64, &'static str)]| {
            kinds.iter().find(|(known, _)| *known == kind).map(|(_, name)| *name)
        };
        if let Some(name) = name(&REMOTE) {
            report.fail(
                "data",
                format!(
                    "{shown} is on {name}, where SQLite's locks do not hold and a commit may not be on the disk: use a disk \
                     of this machine, or --redis and --mysql"
                ),
            );
        } else if let Some(name) = name(&FLEETING) {
            let text = format!(
                "{shown} is on {name}: all is gone with the container or the machine. Mount a volume there"
            );
            report.warn("data", text);
        }
    }
}

/// The directory, or the nearest above it that there is.
fn existing(path: &Path) -> Option<PathBuf> {
    let whole = std::path::absolute(path).ok()?;
    if whole.is_dir() {
        return Some(path.to_owned());
    }
    whole.ancestors().find(|path| path.is_dir()).map(Path::to_owned)
}

fn try_to_write(folder: &Path) -> io::Result<()> {
    let path = folder.join(format!(".maru-doctor-{}", std::process::id()));
    let written = File::options().write(true).create_new(true).open(&path).and_then(|mut file| {
        file.write_all(b"maru doctor")?;
        file.sync_all()
    });
    _ = fs::remove_file(&path);
    written
}

fn secret(path: &Path, report: &mut Report) {
    if let Ok(file) = fs::metadata(path)
        && file.permissions().mode() & 0o077 != 0
    {
        report.warn("data", format!("{} can be read by others: chmod 600, and change it", path.display()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_of_trying_to_write() {
        let folder = tempfile::TempDir::new().unwrap();
        try_to_write(folder.path()).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(try_to_write(&folder.path().join("nowhere")).is_err());
        assert_eq!(existing(&folder.path().join("a/b")).as_deref(), Some(folder.path()));
    }
}
