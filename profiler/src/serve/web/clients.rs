//! Verifies the certificates of clients.

use std::{net::IpAddr, sync::Arc};

use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use x509_cert::{
    Certificate,
    der::{Decode as _, oid::ObjectIdentifier},
    ext::pkix::{ExtendedKeyUsage, SubjectAltName, name::GeneralName},
};

/// Extended key usages of a client, RFC 5280, 4.2.1.12: `anyExtendedKeyUsage`, `id-kp-clientAuth`.
const USAGES: [ObjectIdentifier; 2] = [
    ObjectIdentifier::new_unwrap("2.5.29.37.0"),
    ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2"),
];

/// Verifies as Go's crypto/tls does with the settings of a web configuration file.
#[derive(Debug)]
pub(super) struct Clients {
    /// Whether an authority must have signed the certificate.
    pub(super) verifies: bool,
    /// Whether a client without a certificate is refused.
    pub(super) is_mandatory: bool,
    /// Verifies by the authorities. `None` if there are none.
    pub(super) by_authority: Option<Arc<dyn ClientCertVerifier>>,
    /// The certificates of the authorities.
    pub(super) authorities: Vec<CertificateDer<'static>>,
    /// The names of which a certificate must have at least one.
    pub(super) allowed_names: Option<Vec<String>>,
    /// Verifies the signatures of a handshake.
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

/// The certificate has none of the names in `client_allowed_sans`.
#[derive(Debug, thiserror::Error)]
#[error("the certificate has no name of client_allowed_sans")]
struct NameNotAllowed;

impl Clients {
    fn check_authority(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        // A self-signed certificate can be listed as its own authority. Go accepts this, but webpki
        // refuses it.
        if self.authorities.contains(end_entity) {
            return check_listed(&parsed(end_entity)?, now);
        }
        let Some(verifier) = &self.by_authority else {
            return Err(CertificateError::UnknownIssuer.into());
        };
        verifier.verify_client_cert(end_entity, intermediates, now).map(drop)
    }

    fn check_name(&self, end_entity: &CertificateDer<'_>) -> Result<(), Error> {
        let Some(allowed) = &self.allowed_names else { return Ok(()) };
        if names(&parsed(end_entity)?).iter().any(|name| allowed.contains(name)) {
            return Ok(());
        }
        Err(CertificateError::Other(OtherError(Arc::new(NameNotAllowed))).into())
    }
}

fn parsed(certificate: &CertificateDer<'_>) -> Result<Certificate, Error> {
    Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding.into())
}

/// Checks a certificate that is itself in the list of authorities.
fn check_listed(certificate: &Certificate, now: UnixTime) -> Result<(), Error> {
    let content = certificate.tbs_certificate();
    let validity = content.validity();
    if now.as_secs() < validity.not_before.to_unix_duration().as_secs() {
        return Err(CertificateError::NotValidYet.into());
    }
    if now.as_secs() > validity.not_after.to_unix_duration().as_secs() {
        return Err(CertificateError::Expired.into());
    }
    let usage = content.get_extension::<ExtendedKeyUsage>();
    match usage.map_err(|_| Error::from(CertificateError::BadEncoding))? {
        Some((_, usage)) if !usage.0.iter().any(|usage| USAGES.contains(usage)) => {
            Err(CertificateError::InvalidPurpose.into())
        }
        _ => Ok(()),
    }
}

/// The subject alternative names of a certificate: DNS names, IP addresses, e-mail addresses, URIs.
fn names(certificate: &Certificate) -> Vec<String> {
    let Ok(Some((_, SubjectAltName(names)))) = certificate.tbs_certificate().get_extension() else {
        return Vec::new();
    };
    names.iter().filter_map(name).collect()
}

fn name(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(text)
        | GeneralName::Rfc822Name(text)
        | GeneralName::UniformResourceIdentifier(text) => Some(text.as_str().to_owned()),
        GeneralName::IpAddress(bytes) => {
            let bytes = bytes.as_bytes();
            let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
            let v6 = <[u8; 16]>::try_from(bytes).map(|bytes| IpAddr::from(bytes).to_canonical());
            v4.or(v6).ok().map(|address| address.to_string())
        }
        _ => None,
    }
}

impl ClientCertVerifier for Clients {
    fn client_auth_mandatory(&self) -> bool {
        self.is_mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.by_authority.as_ref().filter(|_| self.verifies).map_or(&[], |v| v.root_hint_subjects())
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if self.verifies {
            self.check_authority(end_entity, intermediates, now)?;
        }
        self.check_name(end_entity)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
