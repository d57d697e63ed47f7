//! A server that speaks TLS: whom it is believed, and whom not.

use keywright_testkit::postgres::Server;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};

use super::*;

/// An authority, and how what it signed is made.
fn authority() -> (String, Issuer<'static, KeyPair>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let certificate = params.self_signed(&key).unwrap();
    (certificate.pem(), Issuer::new(params, key))
}

/// Whether the connection is encrypted, or why there is none.
async fn encrypted(url: &str, tls: &str) -> Result<bool, String> {
    let database = PostgresDatabase::open(&format!("{url}?{tls}")).await.map_err(|error| {
        let source = std::error::Error::source(&error).map(|source| format!("{source} {source:?}"));
        format!("{error} {}", source.unwrap_or_default())
    })?;
    let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let row = database.link.first(sql, &[]).await.unwrap().unwrap();
    Ok(row.get(0))
}

#[tokio::test]
async fn a_server_is_believed_by_its_authority_and_its_name() {
    let (authority_pem, issuer) = authority();
    let (stranger_pem, _) = authority();
    let key = KeyPair::generate().unwrap();
    let names = vec!["127.0.0.1".to_owned()];
    let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
    let Some(server) = Server::start_with_tls(&certificate.pem(), &key.serialize_pem()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let trusting = |name: &str, pem: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, pem).unwrap();
        format!("sslmode=verify-full&sslrootcert={}", path.display())
    };
    let (right, wrong) = (trusting("ca.pem", &authority_pem), trusting("stranger.pem", &stranger_pem));
    let url = server.database().url;
    assert_eq!(encrypted(&url, &right).await, Ok(true));
    let refused = encrypted(&url, &wrong).await.unwrap_err();
    assert!(refused.contains("InvalidCertificate"), "{refused}");
    let elsewhere = url.replace("127.0.0.1", "localhost");
    let refused = encrypted(&elsewhere, &right).await.unwrap_err();
    assert!(refused.contains("NotValidForName"), "{refused}");
    // Whoever asks for less gets that.
    assert_eq!(encrypted(&url, "sslmode=require").await, Ok(true));
    assert_eq!(encrypted(&url, "sslmode=disable").await, Ok(false));
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_it_is_asked_for() {
    let Some(server) = keywright_testkit::postgres::shared() else { return };
    let refused = encrypted(&server.database().url, "sslmode=require").await.unwrap_err();
    assert!(refused.contains("TLS"), "{refused}");
}
