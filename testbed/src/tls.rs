//! Certificates for the servers.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::process::inside;

const CONFIG: &str = "\
[req]
distinguished_name = nobody
[nobody]
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
[server]
basicConstraints = CA:FALSE
subjectAltName = DNS:localhost, IP:127.0.0.1
";

/// An authority that nobody knows, and a certificate by it for `localhost` and 127.0.0.1. By `openssl`, from Debian's
/// package.
#[derive(Debug)]
pub struct Tls {
    data: TempDir,
}

impl Tls {
    /// A new one, good for a day.
    ///
    /// # Panics
    /// When it cannot be made, as all here.
    #[expect(clippy::new_without_default, reason = "no two are alike")]
    pub fn new() -> Self {
        let tls = Tls { data: TempDir::new().expect("a directory can be made") };
        std::fs::write(tls.file("conf"), CONFIG).expect("it can be written");
        tls.certify("authority", &[]);
        tls.certify("server", &["-CA", "authority.pem", "-CAkey", "authority.key"]);
        tls
    }

    /// The certificate of the authority (PEM): who has this in `SSL_CERT_FILE` trusts the server, and nobody else.
    pub fn authority(&self) -> PathBuf {
        self.file("authority.pem")
    }

    /// The server's certificate (PEM).
    pub fn certificate(&self) -> PathBuf {
        self.file("server.pem")
    }

    /// The server's key (PEM).
    pub fn key(&self) -> PathBuf {
        self.file("server.key")
    }

    fn file(&self, name: &str) -> PathBuf {
        inside(self.data.path(), name)
    }

    fn certify(&self, whom: &str, by: &[&str]) {
        let made = Command::new("openssl")
            .current_dir(self.data.path())
            .args(["req", "-x509", "-config", "conf", "-extensions", whom, "-days", "1", "-nodes"])
            .args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
            .args(["-subj", &format!("/CN=maru's tests: {whom}")])
            .arg("-keyout")
            .arg(Path::new(whom).with_extension("key"))
            .arg("-out")
            .arg(Path::new(whom).with_extension("pem"))
            .args(by)
            .output()
            .expect("openssl is not installed here; ./test installs it");
        assert!(
            made.status.success(),
            "no certificate could be made: {}",
            String::from_utf8_lossy(&made.stderr)
        );
    }
}
