//! The certificate that the server shows: read, and read again when its files change.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, RwLock},
};

use rustls::{
    ServerConfig,
    crypto::aws_lc_rs::{Ticketer, default_provider},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::files::Watched;

/// What is spoken inside, the preferred one first (RFC 7301).
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// A certificate with its chain and its key, in two PEM files.
#[derive(Debug)]
pub struct Certificates {
    chain: PathBuf,
    key: PathBuf,
    config: RwLock<Arc<ServerConfig>>,
}

impl Certificates {
    /// Reads both files.
    ///
    /// # Errors
    /// With a sentence that names the file that cannot be read, or says that the key is not the certificate's.
    pub fn read(chain: PathBuf, key: PathBuf) -> io::Result<Self> {
        let config = RwLock::new(Arc::new(config(&chain, &key)?));
        Ok(Certificates { chain, key, config })
    }

    /// Makes TLS of a connection.
    ///
    /// # Errors
    /// When the client wants something else, or breaks off.
    pub async fn accept(&self, socket: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let config = Arc::clone(&self.config.read().expect("no panic while locked"));
        TlsAcceptor::from(config).accept(socket).await
    }

    /// Did client and server agree on HTTP/2?
    pub fn is_http2(socket: &TlsStream<TcpStream>) -> bool {
        socket.get_ref().1.alpn_protocol() == Some(PROTOCOLS[0])
    }

    /// Reads the files again whenever they have changed, for ever. What is wrong with them is said once, and the
    /// certificate from before stays: a tool that renews writes one file after the other.
    pub async fn follow(self: Arc<Self>, mut files: Watched) {
        loop {
            files.changed().await;
            match config(&self.chain, &self.key) {
                Ok(config) => {
                    *self.config.write().expect("no panic while locked") = Arc::new(config);
                    tracing::info!(file = %self.chain.display(), "the certificate was read again");
                }
                Err(e) => tracing::warn!(error = %e, "the certificate from before stays"),
            }
        }
    }
}

fn config(chain_file: &Path, key_file: &Path) -> io::Result<ServerConfig> {
    let chain: Vec<_> = CertificateDer::pem_file_iter(chain_file)
        .and_then(Iterator::collect)
        .map_err(|e| wrong(chain_file, "certificates", e))?;
    if chain.is_empty() {
        return Err(wrong(chain_file, "certificates", "there is none in it"));
    }
    let key = PrivateKeyDer::from_pem_file(key_file).map_err(|e| wrong(key_file, "a private key", e))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|e| wrong(chain_file, &format!("the certificate of {}", key_file.display()), e))?;
    config.alpn_protocols = PROTOCOLS.map(Vec::from).into();
    // Readers that come back, all at once after a restart of something between, need no signature each.
    config.ticketer = Ticketer::new().map_err(io::Error::other)?;
    Ok(config)
}

fn wrong(file: &Path, what: &str, e: impl std::fmt::Display) -> io::Error {
    io::Error::other(format!("cannot read {what} from {}: {e}", file.display()))
}
