//! Certificates for tests, made anew each time.

#![allow(dead_code, reason = "the kernel tests use a part")]

use std::{fs, net::IpAddr, path::Path};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    SanType, date_time_ymd,
};

/// An authority that signs certificates.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in PEM.
pub(crate) struct Identity {
    pub(crate) cert: String,
    pub(crate) key: String,
}

impl Identity {
    /// Writes `NAME.crt` and `NAME.key`.
    pub(crate) fn write(&self, directory: &Path, name: &str) {
        for (extension, text) in [("crt", &self.cert), ("key", &self.key)] {
            // Replaced as tools that renew certificates do.
            let new = directory.join(format!("{name}.new"));
            fs::write(&new, text).expect("written");
            fs::rename(new, directory.join(format!("{name}.{extension}"))).expect("renamed");
        }
    }
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("a certificate"))
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate of a server on this host.
    pub(crate) fn server(&self) -> Identity {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        params.subject_alt_names.push(SanType::IpAddress(IpAddr::from([127, 0, 0, 1])));
        self.sign(params)
    }

    /// A certificate of a client with these names.
    pub(crate) fn client(&self, names: &[&str]) -> Identity {
        self.sign(client(names))
    }

    /// A certificate that is for servers, and not for clients.
    pub(crate) fn server_only(&self) -> Identity {
        let mut params = client(&["server"]);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(params)
    }

    /// A certificate of a client that is no longer valid.
    pub(crate) fn expired(&self) -> Identity {
        let mut params = client(&["expired"]);
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
        self.sign(params)
    }

    fn sign(&self, params: CertificateParams) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let cert = params.signed_by(&key, &self.0).expect("a certificate");
        Identity { cert: cert.pem(), key: key.serialize_pem() }
    }
}

/// A certificate of a client that signed itself.
pub(crate) fn self_signed() -> Identity {
    let key = KeyPair::generate().expect("a key");
    let cert = client(&["self"]).self_signed(&key).expect("a certificate");
    Identity { cert: cert.pem(), key: key.serialize_pem() }
}

fn client(names: &[&str]) -> CertificateParams {
    let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}
