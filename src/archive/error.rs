//! What can go wrong, by what to do about it.

use std::fmt;

use mysql_async::{DriverError, Error, ServerError};

/// Why the archive did not do what it was asked.
#[derive(Debug)]
pub struct ArchiveError {
    /// What to do about it.
    pub kind: ArchiveErrorKind,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What to do about an [`ArchiveError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchiveErrorKind {
    /// The server does not answer or cannot write now. A commit may have happened or not: ask the same again,
    /// everything here may be asked twice.
    Unavailable,
    /// The server works and does not take this data: asking again will not help.
    Refused,
    /// A row holds what no maru wrote.
    Unreadable,
    /// A newer maru made the schema.
    Newer,
    /// The URL is none that leads to a MySQL database.
    BadUrl,
}

impl ArchiveError {
    pub(crate) fn new(
        kind: ArchiveErrorKind,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        ArchiveError { kind, source: Some(source.into()) }
    }

    /// Another try may succeed at once: the server chose this transaction to break a tie between two.
    pub(super) fn is_tie(&self) -> bool {
        self.server_code().is_some_and(|code| [LOCK_WAIT, DEADLOCK].contains(&code))
    }

    /// The server said it, so the connection is in order.
    pub(super) fn is_from_server(&self) -> bool {
        self.server_code().is_some()
    }

    fn server_code(&self) -> Option<u16> {
        match self.source.as_ref()?.downcast_ref::<Error>()? {
            Error::Server(error) => Some(error.code),
            _ => None,
        }
    }
}

/// ER_LOCK_WAIT_TIMEOUT.
const LOCK_WAIT: u16 = 1205;
/// ER_LOCK_DEADLOCK.
const DEADLOCK: u16 = 1213;
/// About the data though their SQLSTATE does not say so: a character that does not fit, a value that is
/// truncated, a field without default, a packet that is too large, and a failed CHECK in MySQL and MariaDB.
const ABOUT_DATA: [u16; 6] = [1366, 1265, 1364, 1153, 3819, 4025];

/// SQLSTATE classes: data exception, integrity constraint, raised by SIGNAL.
const DATA_CLASSES: [&str; 3] = ["22", "23", "45"];

fn is_about_data(error: &ServerError) -> bool {
    ABOUT_DATA.contains(&error.code) || DATA_CLASSES.iter().any(|class| error.state.starts_with(class))
}

impl From<Error> for ArchiveError {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Server(e) if is_about_data(e) => ArchiveErrorKind::Refused,
            Error::Driver(DriverError::PacketTooLarge) => ArchiveErrorKind::Refused,
            Error::Driver(DriverError::FromValue { .. } | DriverError::FromRow { .. }) => {
                ArchiveErrorKind::Unreadable
            }
            Error::Url(_) => ArchiveErrorKind::BadUrl,
            _ => ArchiveErrorKind::Unavailable,
        };
        ArchiveError::new(kind, error)
    }
}

impl fmt::Display for ArchiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            ArchiveErrorKind::Unavailable => "the archive is unavailable",
            ArchiveErrorKind::Refused => "the archive does not take this",
            ArchiveErrorKind::Unreadable => "the archive holds what no maru wrote",
            ArchiveErrorKind::Newer => "a newer maru made the archive",
            ArchiveErrorKind::BadUrl => "not the URL of a MySQL database",
        })?;
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ArchiveError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
