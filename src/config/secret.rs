//! The key that sessions are signed with: given, or kept in the data directory.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
};

use super::Config;
use crate::identity::LEAST_SECRET;

impl Config {
    /// Where a secret that nobody gave is kept.
    pub(crate) fn secret_file(&self) -> PathBuf {
        self.data.join("secret")
    }

    /// The secrets given, or the one kept in the data directory; `None` if there is none yet.
    ///
    /// # Errors
    /// When there is one that cannot be read, or is too short.
    pub(crate) fn secrets(&self) -> io::Result<Option<Vec<Vec<u8>>>> {
        if !self.secret.is_empty() {
            return Ok(Some(self.secret.iter().map(|secret| secret.clone().into_bytes()).collect()));
        }
        let path = self.secret_file();
        match fs::read(&path) {
            Ok(secret) if secret.len() >= LEAST_SECRET => Ok(Some(vec![secret])),
            Ok(_) => Err(io::Error::other(format!("the secret in {} is too short", path.display()))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(io::Error::new(e.kind(), format!("cannot read {}: {e}", path.display()))),
        }
    }

    /// The same, and if there is none one is made.
    ///
    /// # Errors
    /// As [`Config::secrets`], and when it cannot be written.
    pub(crate) fn secrets_or_new(&self) -> io::Result<Vec<Vec<u8>>> {
        if let Some(secrets) = self.secrets()? {
            return Ok(secrets);
        }
        let secret: [u8; 32] = rand::random();
        let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(self.secret_file())?;
        file.write_all(hex.as_bytes())?;
        file.sync_all()?;
        Ok(vec![hex.into_bytes()])
    }
}
