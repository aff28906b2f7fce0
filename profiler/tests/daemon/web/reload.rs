//! Changes of files while the daemon serves.

use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
};

use tokio_rustls::rustls::pki_types::CertificateDer;

use super::{
    client::{Client, Files, wait_until},
    tls::{TLS, users},
};
use crate::http::status;
use profiler::serve::web_config::WebConfig as _;

fn certificate(client: &Client, address: std::net::SocketAddr) -> CertificateDer<'static> {
    let stream = client.connect(address).expect("connects");
    stream.conn.peer_certificates().expect("certificates")[0].clone().into_owned()
}

#[test]
fn a_renewed_key_is_used_and_no_scrape_is_lost() {
    let files = Files::new();
    let (address, _publisher, live) = files.serve(TLS);
    live.watch().expect("a thread");
    let client = files.client();
    let first = certificate(&client, address);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let scraper = scope.spawn(|| {
            let mut scrapes = 0;
            while !is_over.load(Relaxed) {
                let answer = files.client().scrape(address, None).expect("no scrape is lost");
                assert_eq!(status(&answer), "200");
                scrapes += 1;
            }
            scrapes
        });
        files.authority.server().write(files.path(), "server");
        wait_until("the new certificate", || certificate(&client, address) != first);
        let second = certificate(&client, address);
        // A broken key leaves the old key in effect. A valid key is used.
        fs::write(files.path().join("server.key"), "junk").expect("written");
        thread::sleep(std::time::Duration::from_secs(7));
        assert_eq!(certificate(&client, address), second);
        files.authority.server().write(files.path(), "server");
        wait_until("the third certificate", || certificate(&client, address) != second);
        is_over.store(true, Relaxed);
        assert!(scraper.join().expect("only scrapes") > 10);
    });
}

#[test]
fn changed_users_and_a_missing_certificate_are_noticed() {
    let files = Files::new();
    let (address, _publisher, live) = files.serve(&format!("{TLS}{}", users("old")));
    live.watch().expect("a thread");
    assert!(!live.has_failed());
    let client = files.client();
    let code = |password: &str| {
        let answer = client.scrape(address, Some(&format!("alice:{password}")));
        status(&answer.expect("an answer")).to_owned()
    };
    assert_eq!(code("old"), "200");
    files.web(&format!("{TLS}{}", users("new")));
    wait_until("the new password", || code("new") == "200");
    assert_eq!(code("old"), "401");
    // The new file names a certificate that does not exist yet.
    let other = TLS.replace("server.", "other.");
    files.web(&format!("{other}{}", users("newest")));
    wait_until("the failure is noted", || live.has_failed());
    assert_eq!(code("new"), "200");
    files.authority.server().write(files.path(), "other");
    wait_until("the newest password", || code("newest") == "200");
    assert!(!live.has_failed());
}

/// An empty file, for example while it is written, removes no protection.
#[test]
fn protection_is_not_removed_from_a_running_daemon() {
    let files = Files::new();
    let (address, _publisher, live) = files.serve(&format!("{TLS}{}", users("x")));
    for (text, section) in [
        (String::new(), "tls_server_config"),
        (users("x"), "tls_server_config"),
        (TLS.to_owned(), "basic_auth_users"),
        (format!("{TLS}basic_auth_users: {{}}\n"), "basic_auth_users"),
    ] {
        files.web(&text);
        let new = live.read().expect("valid by itself");
        let error = live.replace(new).expect_err(&text).to_string();
        assert!(error.contains(section) && error.contains("restart"), "{error}");
    }
    let answer = files.client().scrape(address, None).expect("an answer");
    assert_eq!(status(&answer), "401");
}

/// A truncated file is often valid.
#[test]
fn certificates_and_names_are_required_for_as_long_as_the_daemon_runs() {
    let files = Files::new();
    let authority =
        format!("{TLS}  client_ca_file: ca.crt\n  client_auth_type: RequireAndVerifyClientCert\n");
    let names = format!("{authority}  client_allowed_sans: [prometheus.example]\n");
    let (address, _publisher, live) = files.serve(&names);
    for (text, removed) in [
        (TLS.to_owned(), "client_auth_type"),
        (names.replace("RequireAndVerify", "RequireAny"), "client_auth_type"),
        (authority, "client_allowed_sans"),
    ] {
        files.web(&text);
        let error = live.replace(live.read().expect("valid by itself")).expect_err(&text);
        assert!(error.to_string().contains(removed), "{error}");
    }
    assert!(files.client().scrape(address, None).is_err());
    let other = files.client().with(&files.authority.client(&["other.example"]));
    assert!(other.scrape(address, None).is_err());
}
