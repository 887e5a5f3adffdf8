//! How the program itself asks a server, for its commands: HTTP/1.1, plain or over TLS.

use std::{io, str::FromStr, sync::Arc};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Request, Response, Uri,
    body::Incoming,
    client::conn::http1::{SendRequest, handshake},
    header::{HOST, HeaderValue},
};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use crate::config::Config;

/// Where a server is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Site {
    scheme: Scheme,
    /// A name or an address; an IPv6 one in brackets.
    host: String,
    port: u16,
    /// What stands before its paths; empty, or begins with `/` and does not end so.
    prefix: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Http,
    /// With a certificate that the system trusts.
    Https,
    /// With whatever certificate: this program's own server, whose certificate names the site and not this machine.
    OwnHttps,
}

impl Site {
    /// The server that these settings are of, asked on its own machine.
    ///
    /// # Errors
    /// When the settings do not say where it is.
    pub(crate) fn of(config: &Config) -> Result<Self, String> {
        let mut address = config.listen;
        if address.port() == 0 {
            return Err("--listen names port 0, which is another at each start".into());
        }
        if address.ip().is_unspecified() {
            address.set_ip(if address.is_ipv4() {
                std::net::Ipv4Addr::LOCALHOST.into()
            } else {
                std::net::Ipv6Addr::LOCALHOST.into()
            });
        }
        let host = match address.ip() {
            std::net::IpAddr::V4(ip) => ip.to_string(),
            std::net::IpAddr::V6(ip) => format!("[{ip}]"),
        };
        let scheme = if config.certificates()?.is_some() { Scheme::OwnHttps } else { Scheme::Http };
        Ok(Site { scheme, host, port: address.port(), prefix: String::new() })
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.scheme != Scheme::Http
    }

    /// Is it this machine?
    pub(crate) fn is_local(&self) -> bool {
        let host = self.host.trim_matches(['[', ']']);
        host == "localhost" || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
    }

    /// The URL of a path there.
    pub(crate) fn url(&self, path: &str) -> String {
        let scheme = if self.is_tls() { "https" } else { "http" };
        format!("{scheme}://{}{}{path}", self.authority(), self.prefix)
    }

    /// `host`, and `:port` unless it is the scheme's own.
    fn authority(&self) -> String {
        let own = if self.is_tls() { 443 } else { 80 };
        if self.port == own { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }

    /// A new connection.
    ///
    /// # Errors
    /// When it cannot be made, or the certificate is not trusted.
    pub(crate) async fn connect(&self) -> io::Result<Connection> {
        let host = self.host.trim_matches(['[', ']']);
        let socket = TcpStream::connect((host, self.port)).await?;
        socket.set_nodelay(true)?;
        let sender = match self.scheme {
            Scheme::Http => speak(socket).await?,
            Scheme::Https | Scheme::OwnHttps => {
                let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
                let trust = if self.scheme == Scheme::Https { trusting()? } else { trusting_anybody()? };
                speak(TlsConnector::from(trust).connect(name, socket).await?).await?
            }
        };
        let host = HeaderValue::from_str(&self.authority()).map_err(io::Error::other)?;
        Ok(Connection { sender, host, prefix: self.prefix.clone() })
    }
}

impl FromStr for Site {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        const WRONG: &str = "a URL is such as https://chat.example";
        let uri: Uri = s.parse().map_err(|_| WRONG)?;
        let scheme = match uri.scheme_str() {
            Some("http") => Scheme::Http,
            Some("https") => Scheme::Https,
            _ => return Err(WRONG.into()),
        };
        let authority = uri.authority().ok_or(WRONG)?;
        if authority.as_str().contains('@') || uri.query().is_some() || authority.host().is_empty() {
            return Err(format!("{WRONG}, without a name, a password or a query"));
        }
        let own = if scheme == Scheme::Https { 443 } else { 80 };
        let port = authority.port_u16().unwrap_or(own);
        let prefix = uri.path().trim_end_matches('/').to_owned();
        Ok(Site { scheme, host: authority.host().to_owned(), port, prefix })
    }
}

/// One connection to a server; requests go over it one after the other.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: HeaderValue,
    prefix: String,
}

impl Connection {
    /// Sends a request for a path, and gives its answer as soon as the head is there.
    ///
    /// # Errors
    /// When the connection breaks.
    pub(crate) async fn send(&mut self, mut request: Request<Full<Bytes>>) -> io::Result<Response<Incoming>> {
        if !self.prefix.is_empty() {
            *request.uri_mut() =
                format!("{}{}", self.prefix, request.uri()).parse().map_err(io::Error::other)?;
        }
        request.headers_mut().insert(HOST, self.host.clone());
        self.sender.ready().await.map_err(io::Error::other)?;
        self.sender.send_request(request).await.map_err(io::Error::other)
    }
}

async fn speak(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> io::Result<SendRequest<Full<Bytes>>> {
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    // Whoever waits for an answer hears of its end.
    tokio::spawn(async { connection.await.ok() });
    Ok(sender)
}

/// Trusts whom the system trusts, or `SSL_CERT_FILE` names.
fn trusting() -> io::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

/// Asks for no proof: nothing is told on such a connection that is not for everybody.
fn trusting_anybody() -> io::Result<Arc<ClientConfig>> {
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    Ok(Arc::new(config.dangerous().with_custom_certificate_verifier(Arc::new(Anybody)).with_no_client_auth()))
}

#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn own(listen: &str) -> Result<String, String> {
        let config = Config::try_parse_from(["maru", "--listen", listen]).unwrap();
        Site::of(&config).map(|site| site.url("/healthz"))
    }

    #[test]
    fn a_server_that_listens_everywhere_is_asked_on_its_own_machine() {
        for (listen, url) in [
            ("127.0.0.1:8080", "http://127.0.0.1:8080/healthz"),
            ("0.0.0.0:80", "http://127.0.0.1/healthz"),
            ("[::]:8080", "http://[::1]:8080/healthz"),
            ("192.0.2.7:8080", "http://192.0.2.7:8080/healthz"),
        ] {
            assert_eq!(own(listen).as_deref(), Ok(url));
        }
        assert!(own("127.0.0.1:0").is_err());
    }

    #[test]
    fn a_url_is_a_scheme_a_host_and_perhaps_a_path() {
        for (given, url) in [
            ("https://chat.example", "https://chat.example/r/lobby"),
            ("https://chat.example:8443/", "https://chat.example:8443/r/lobby"),
            ("http://[::1]:8080/chat/", "http://[::1]:8080/chat/r/lobby"),
        ] {
            assert_eq!(given.parse::<Site>().map(|site| site.url("/r/lobby")).as_deref(), Ok(url));
        }
        for wrong in [
            "",
            "chat.example",
            "ftp://chat.example",
            "https://",
            "https://me:word@chat.example",
            "http://x/?y",
        ] {
            assert!(wrong.parse::<Site>().is_err(), "{wrong:?} was taken");
        }
    }
}
