//! Builds the TLS configuration of the server.

use std::sync::Arc;

use tokio_rustls::rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
};

use super::{
    clients::Clients,
    file::TlsSection,
    names::{self, ClientAuth},
};

/// The PEM texts of a section. They contain a secret, and so there is no `Debug`.
pub(super) struct Pems {
    /// The certificate chain of the server.
    pub(super) cert: String,
    /// The private key of the server.
    pub(super) key: String,
    /// The authorities of clients.
    pub(super) client_ca: Option<String>,
}

/// Builds the configuration. Adds warnings for the operator to `warnings`.
///
/// # Errors
/// In words, without any text from the files.
pub(super) fn server_config(
    section: &TlsSection,
    pems: &Pems,
    http2: bool,
    warnings: &mut Vec<String>,
) -> Result<ServerConfig, String> {
    let provider = Arc::new(provider(section, warnings)?);
    let chain = certificates(&pems.cert)
        .filter(|chain| !chain.is_empty())
        .ok_or("the certificate is not a PEM certificate")?;
    let key = PrivateKeyDer::from_pem_slice(pems.key.as_bytes())
        .map_err(|_| "the key is not a PEM private key without a password")?;
    if section.versions.allow_old() {
        warnings.push("min_version: the daemon offers TLS 1.2 and TLS 1.3 only".into());
    }
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&section.versions.offered())
        .map_err(|_| "no cipher suite is left for the protocol versions")?;
    let builder = match client_verifier(section, pems, &provider, warnings)? {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    // The errors of rustls for keys have no content of the key.
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| format!("the certificate and the key cannot be used: {error}"))?;
    config.ignore_client_order = section.prefer_server_order;
    if section.client_auth != ClientAuth::None {
        // A client that resumes a session does not show its certificate again, which may have
        // expired.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    if http2 {
        config.alpn_protocols.insert(0, b"h2".to_vec());
    }
    Ok(config)
}

/// The certificates in `text`, or `None` if one of them is malformed.
fn certificates(text: &str) -> Option<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<_, _>>().ok()
}

/// The cipher suites and curves of the section.
fn provider(section: &TlsSection, warnings: &mut Vec<String>) -> Result<CryptoProvider, String> {
    let mut provider = ring::default_provider();
    if !section.cipher_suites.is_empty() {
        let named: Vec<_> =
            section.cipher_suites.iter().filter_map(|name| names::suite(name)).collect();
        // As in Go, the list is for TLS 1.2; the suites of TLS 1.3 are fixed.
        let (fixed, mut chosen): (Vec<_>, Vec<_>) =
            provider.cipher_suites.iter().copied().partition(|suite| suite.tls13().is_some());
        chosen.retain(|suite| named.contains(&suite.suite()));
        chosen.sort_by_key(|suite| named.iter().position(|name| *name == suite.suite()));
        provider.cipher_suites = [fixed, chosen].concat();
        warn_of_left_out(warnings, "cipher_suites", &section.cipher_suites, |name| {
            names::suite(name).is_some()
        });
    }
    if !section.curves.is_empty() {
        let groups = section.curves.iter().filter_map(|name| names::curve(name));
        let group_of = |name| provider.kx_groups.iter().find(|group| group.name() == name);
        provider.kx_groups = groups.filter_map(group_of).copied().collect();
        if provider.kx_groups.is_empty() {
            return Err(
                "curve_preferences has no supported curve: add X25519, CurveP256 or CurveP384"
                    .into(),
            );
        }
        warn_of_left_out(warnings, "curve_preferences", &section.curves, |name| {
            names::curve(name).is_some()
        });
    }
    Ok(provider)
}

fn warn_of_left_out(
    warnings: &mut Vec<String>,
    key: &str,
    named: &[String],
    is_supported: impl Fn(&str) -> bool,
) {
    let left_out: Vec<_> =
        named.iter().map(String::as_str).filter(|name| !is_supported(name)).collect();
    if !left_out.is_empty() {
        warnings.push(format!("{key}: the daemon does not support {}", left_out.join(", ")));
    }
}

/// The verifier of certificates of clients, if a certificate is requested.
fn client_verifier(
    section: &TlsSection,
    pems: &Pems,
    provider: &Arc<CryptoProvider>,
    warnings: &mut Vec<String>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, String> {
    if section.client_auth == ClientAuth::None {
        return Ok(None);
    }
    let verifies =
        matches!(section.client_auth, ClientAuth::VerifyIfGiven | ClientAuth::RequireAndVerify);
    let authorities = match &pems.client_ca {
        Some(text) => certificates(text).ok_or("the client CA is not a PEM certificate")?,
        None => Vec::new(),
    };
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(authorities.iter().cloned());
    if verifies && roots.is_empty() {
        warnings.push(
            "there is no certificate in client_ca_file or client_ca, so every certificate of a \
             client is refused"
                .into(),
        );
    }
    if !verifies {
        warnings.push(
            "client_auth_type: certificates of clients are not verified; only \
             RequireAndVerifyClientCert keeps other clients out"
                .into(),
        );
    }
    let by_authority = (!roots.is_empty())
        .then(|| WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(provider)))
        .map(|builder| builder.build())
        .transpose()
        .map_err(|error| format!("the client CA cannot be used: {error}"))?;
    Ok(Some(Arc::new(Clients {
        verifies,
        is_mandatory: matches!(
            section.client_auth,
            ClientAuth::RequireAny | ClientAuth::RequireAndVerify
        ) || section.client_allowed_sans.is_some(),
        by_authority,
        authorities,
        allowed_names: section.client_allowed_sans.clone(),
        algorithms: provider.signature_verification_algorithms,
    })))
}
