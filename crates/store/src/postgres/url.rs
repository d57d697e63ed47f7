//! Where the database is, from `postgres://…`. What the driver does not know about TLS is read here.

use std::str::FromStr as _;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::open::OpenError;

/// Where the database is and how it is reached.
pub(super) struct Address {
    pub(super) config: Config,
    pub(super) tls: Tls,
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The URL holds a password.
        f.debug_struct("Address").field("database", &self.config.get_dbname()).finish_non_exhaustive()
    }
}

/// Whether the connection is encrypted.
#[derive(Clone)]
pub(super) enum Tls {
    Off,
    On(MakeRustlsConnect),
}

/// What the operator asked for, in PostgreSQL's own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Nothing was said.
    Unsaid,
    Disable,
    /// Encrypted, whoever the other side is.
    Require,
    /// Encrypted, with a certificate for this very host.
    VerifyFull,
}

impl Address {
    /// Reads a URL.
    pub(super) fn parse(url: &str) -> Result<Self, OpenError> {
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(OpenError::Url("it does not begin with postgres://".to_owned()));
        }
        let (rest, mode, root) = take_tls_words(url)?;
        // The driver's message can repeat a part of the URL, and that can be a password.
        let parsed = Config::from_str(&rest);
        let mut config = parsed.map_err(|_| {
            OpenError::Url("it does not read as postgres://user:password@host:port/database".to_owned())
        })?;
        if config.get_dbname().is_none() {
            return Err(OpenError::Url("it names no database behind the host".to_owned()));
        }
        let mode = decide(mode, config.get_hosts())?;
        config.ssl_mode(if mode == Mode::Disable { SslMode::Disable } else { SslMode::Require });
        if config.get_hosts().len() > 1 {
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        let tls = match mode {
            Mode::Unsaid | Mode::Disable => Tls::Off,
            Mode::Require => Tls::On(MakeRustlsConnect::new(unverified()?)),
            Mode::VerifyFull => Tls::On(MakeRustlsConnect::new(verified(root.as_deref())?)),
        };
        Ok(Self { config, tls })
    }
}

/// Takes `sslmode` and `sslrootcert` out of a URL.
fn take_tls_words(url: &str) -> Result<(String, Mode, Option<String>), OpenError> {
    let Some((base, query)) = url.split_once('?') else { return Ok((url.to_owned(), Mode::Unsaid, None)) };
    let (mut mode, mut root, mut others) = (Mode::Unsaid, None, Vec::new());
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("sslmode", "disable")) => mode = Mode::Disable,
            Some(("sslmode", "require")) => mode = Mode::Require,
            Some(("sslmode", "verify-full")) => mode = Mode::VerifyFull,
            Some(("sslmode", other)) => {
                let what = format!("sslmode={other} is not one of disable, require and verify-full");
                return Err(OpenError::Url(what));
            }
            Some(("sslrootcert", path)) => root = Some(path.replace("%2F", "/")),
            _ => others.push(pair),
        }
    }
    let rest = if others.is_empty() { base.to_owned() } else { format!("{base}?{}", others.join("&")) };
    Ok((rest, mode, root))
}

/// On this machine nothing listens in. Elsewhere the operator says what the network is worth.
fn decide(mode: Mode, hosts: &[Host]) -> Result<Mode, OpenError> {
    let local = |host: &Host| match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
    };
    match mode {
        Mode::Unsaid if hosts.iter().all(local) => Ok(Mode::Disable),
        Mode::Unsaid => Err(OpenError::Url(
            "it must say sslmode=verify-full, or sslmode=require (encrypted, but any certificate will do), or \
             sslmode=disable on a network that nobody else is on"
                .to_owned(),
        )),
        said => Ok(said),
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn tls(what: impl std::fmt::Display) -> OpenError {
    OpenError::Url(format!("its TLS settings cannot be used: {what}"))
}

fn verified(root: Option<&str>) -> Result<ClientConfig, OpenError> {
    let mut store = RootCertStore::empty();
    if let Some(path) = root {
        let unread = |error| tls(format!("{path}: {error}"));
        for certificate in CertificateDer::pem_file_iter(path).map_err(unread)? {
            let certificate = certificate.map_err(unread)?;
            store.add(certificate).map_err(|error| tls(format!("{path}: {error}")))?;
        }
    } else {
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    if store.is_empty() {
        return Err(tls("no certificate authority is known: name one with sslrootcert=/path/to/ca.pem"));
    }
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    Ok(builder.map_err(tls)?.with_root_certificates(store).with_no_client_auth())
}

fn unverified() -> Result<ClientConfig, OpenError> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let builder = builder.map_err(tls)?.dangerous();
    Ok(builder.with_custom_certificate_verifier(Arc::new(AnyCertificate(provider()))).with_no_client_auth())
}

/// `sslmode=require`: PostgreSQL's own meaning of it is that the certificate is not looked at.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(url: &str, why: &str) {
        let error = Address::parse(url).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains(why), "{url}: {error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }

    #[test]
    fn a_url_that_cannot_be_used_is_refused_in_words_and_without_its_password() {
        refused("mysql://u:hunter2@localhost/db", "postgres://");
        refused("postgres://u:hunter2@localhost:port/db", "does not read");
        refused("postgres://u:hunter2@localhost", "names no database");
        refused("postgres://u:hunter2@db.example.org/keywright", "sslmode=verify-full");
        refused("postgres://u:hunter2@localhost,db.example.org/keywright", "sslmode=verify-full");
        refused("postgres://u:hunter2@db.example.org/keywright?sslmode=prefer", "not one of");
        refused("postgres://u:hunter2@h/db?sslmode=verify-full&sslrootcert=/nowhere.pem", "/nowhere.pem");
    }

    #[test]
    fn tls_is_off_on_this_machine_and_as_it_is_said_elsewhere() {
        let mode = |url: &str| {
            let address = Address::parse(url).unwrap();
            (matches!(address.tls, Tls::On(_)), address.config.get_ssl_mode())
        };
        for local in ["postgres://u@localhost/db", "postgres://u@127.0.0.1:5433/db", "postgres://u@[::1]/db"]
        {
            assert_eq!(mode(local), (false, SslMode::Disable), "{local}");
        }
        assert_eq!(mode("postgres://u@db/db?sslmode=disable"), (false, SslMode::Disable));
        assert_eq!(mode("postgres://u@db/db?application_name=x&sslmode=require"), (true, SslMode::Require));
    }
}
