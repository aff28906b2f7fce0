//! Compares which web configuration files the daemon and promtool accept. Exceptions are stated.

use std::fs;

use profiler::serve::web::Live;

use super::client::Files;
use crate::exposition::promtool;

const TLS: &str = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n";
const HASH: &str = "$2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG";

/// Who accepts a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Accept {
    /// promtool and the daemon.
    Both,
    /// Neither.
    Neither,
    /// Only the daemon, for this reason.
    OnlyUs(&'static str),
    /// Only promtool, for this reason.
    OnlyPromtool(&'static str),
}
use Accept::{Both, Neither, OnlyPromtool, OnlyUs};

const NEWER: &str = "exporter-toolkit has the key since a version after that of Prometheus 2.42";
const NO_VERSION: &str = "promtool does not notice that no client could connect";
const NO_CURVE: &str = "ring has no P-521, and no other curve is left";

/// Files that begin with [`TLS`], and what follows.
const WITH_TLS: &[(&str, Accept)] = &[
    ("", Both),
    ("  min_version: TLS12\n", Both),
    ("  min_version: TLS13\n", Both),
    ("  min_version: TLS10\n", Both),
    ("  min_version: TLS11\n", Both),
    ("  min_version: null\n", Both),
    ("  max_version: TLS12\n", Both),
    ("  min_version: TLS111\n", Neither),
    ("  min_version: \"1.2\"\n", Neither),
    ("  min_version: tls12\n", Neither),
    ("  max_version: TLS11\n", OnlyPromtool(NO_VERSION)),
    ("  min_version: TLS13\n  max_version: TLS12\n", OnlyPromtool(NO_VERSION)),
    ("  cipher_suites: []\n", Both),
    ("  cipher_suites:\n", Both),
    ("  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_AES_128_GCM_SHA256]\n", Both),
    ("  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA]\n", Both),
    (
        "  cipher_suites: [TLS_RSA_WITH_AES_256_GCM_SHA384]\n  max_version: TLS12\n",
        OnlyPromtool("rustls has no suite without forward secrecy, and no other suite is left"),
    ),
    ("  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA2048]\n", Neither),
    ("  cipher_suites: [TLS_RSA_WITH_3DES_EDE_CBC_SHA]\n", Neither),
    ("  cipher_suites: TLS_AES_128_GCM_SHA256\n", Neither),
    ("  cipher_suites: [ECDHE-RSA-AES128-GCM-SHA256]\n", Neither),
    ("  prefer_server_cipher_suites: false\n", Both),
    ("  prefer_server_cipher_suites: off\n", Both),
    ("  prefer_server_cipher_suites: \"false\"\n", Neither),
    ("  prefer_server_cipher_suites: 0\n", Neither),
    ("  curve_preferences: [CurveP256, CurveP384, CurveP521, X25519]\n", Both),
    ("  curve_preferences: [CurveP257]\n", Neither),
    ("  curve_preferences: [CurveP521]\n", OnlyPromtool(NO_CURVE)),
    ("  client_auth_type: NoClientCert\n", Both),
    ("  client_auth_type: \"\"\n", Both),
    ("  client_auth_type: RequestClientCert\n", Both),
    ("  client_auth_type: RequireClientCert\n", Both),
    ("  client_auth_type: RequireAnyClientCert\n", Both),
    ("  client_auth_type: VerifyClientCertIfGiven\n", Both),
    ("  client_auth_type: RequireAndVerifyClientCert\n", Both),
    ("  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n", Both),
    (
        "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: /dev/null\n",
        OnlyPromtool("the daemon reads regular files only"),
    ),
    ("  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: empty\n", Both),
    ("  client_auth_type: requireandverifyclientcert\n", Neither),
    ("  client_ca_file: ca.crt\n", Neither),
    ("  client_ca_file: ca.crt\n  client_auth_type: NoClientCert\n", Neither),
    ("  client_ca_file: missing\n  client_auth_type: VerifyClientCertIfGiven\n", Neither),
    ("  cert_file: server.crt\n", Neither),
    ("  unknown: 1\n", Neither),
    ("  Min_version: TLS12\n", Neither),
    ("  client_allowed_sans: [a]\n  client_auth_type: RequireAnyClientCert\n", OnlyUs(NEWER)),
    ("http_server_config:\n  http2: false\n", Both),
    ("http_server_config:\n  http2: on\n", Both),
    ("http_server_config:\n  http2: 1\n", Neither),
    ("http_server_config:\n  http2: \"true\"\n", Neither),
    ("http_server_config:\n  http3: true\n", Neither),
    ("http_server_config: {}\n", Both),
    ("http_server_config:\n", Both),
];

/// Whole files.
const WHOLE: &[(&str, Accept)] = &[
    ("", Both),
    ("# nothing\n", Both),
    ("---\n", Both),
    ("{}\n", Both),
    ("null\n", Both),
    ("junk\n", Neither),
    ("- a\n", Neither),
    ("a: [\n", Neither),
    ("\t\n", OnlyUs("a file of white space has no content, whatever the white space")),
    ("unknown_section: {}\n", Neither),
    ("tls_server_config: {}\n", Both),
    ("tls_server_config: []\n", Neither),
    ("tls_server_config:\n  min_version: TLS13\n", Both),
    ("tls_server_config:\n  cert_file: server.crt\n", Neither),
    ("tls_server_config:\n  key_file: server.key\n", Neither),
    ("tls_server_config:\n  cert_file: \"\"\n  key_file: server.key\n", Neither),
    ("tls_server_config:\n  cert_file: server.crt\n  key_file: \"\"\n", Neither),
    ("tls_server_config:\n  cert_file: missing\n  key_file: server.key\n", Neither),
    ("tls_server_config:\n  cert_file: server.crt\n  key_file: missing\n", Neither),
    ("tls_server_config:\n  cert_file: server.key\n  key_file: server.crt\n", Neither),
    ("tls_server_config:\n  cert_file: server.crt\n  key_file: other.key\n", Neither),
    ("tls_server_config:\n  cert_file: junk\n  key_file: junk\n", Neither),
    ("tls_server_config:\n  cert_file: .\n  key_file: server.key\n", Neither),
    ("tls_server_config:\n  client_auth_type: RequireAnyClientCert\n", Neither),
    ("tls_server_config:\n  cert_filse: server.crt\n", Neither),
    (
        "http_server_config:\n  headers:\n    X-Frame-Options: deny\n    X-Content-Type-Options: nosniff\n    X-XSS-Protection: 1\n    Strict-Transport-Security: max-age=31536000; includeSubDomains\n    Content-Security-Policy: \"default-src 'self'\"\n",
        Both,
    ),
    ("http_server_config:\n  headers: {X-Frame-Options: sameorigin}\n", Both),
    ("http_server_config:\n  headers: {X-Frame-Options: DENY}\n", Neither),
    ("http_server_config:\n  headers: {X-Frame-Options: \"\"}\n", Neither),
    ("http_server_config:\n  headers: {X-Content-Type-Options: sniff}\n", Neither),
    ("http_server_config:\n  headers: {Content-Type: text/html}\n", Neither),
    ("http_server_config:\n  headers: {x-frame-options: deny}\n", Neither),
    ("http_server_config:\n  headers: {Content-Security-Policy: \"\"}\n", Both),
    (
        "http_server_config:\n  headers: {Content-Security-Policy: \"a\\nb: c\"}\n",
        OnlyPromtool("a header cannot have a line break"),
    ),
    ("http_server_config:\n  headers: []\n", Neither),
    ("basic_auth_users: {}\n", Both),
    ("basic_auth_users: []\n", Neither),
    ("basic_auth_users: {alice: doe}\n", Neither),
    ("basic_auth_users: {alice: }\n", Neither),
    ("basic_auth_users: {alice: $2y$10$short}\n", Neither),
    (
        "basic_auth_users: {alice: $2y$32$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG}\n",
        Neither,
    ),
    (
        "basic_auth_users: {alice: $2y$03$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG}\n",
        Neither,
    ),
    (
        "basic_auth_users: {alice: $2a$04$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG}\n",
        Both,
    ),
    (
        "basic_auth_users: {alice: $2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zGextra}\n",
        OnlyPromtool("no password matches a hash with text behind it"),
    ),
    (
        "basic_auth_users:\n  alice: &x $2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG\n  bob: *x\n",
        Both,
    ),
    ("basic_auth_users: {a: *none}\n", Neither),
    ("http_server_config: {http2: true}\nhttp_server_config: {}\n", Neither),
    ("http_server_config: {http2: true, http2: false}\n", Neither),
    ("{}\n---\nunknown: 1\n", OnlyPromtool("promtool ignores further documents")),
    ("rate_limit: {interval: 1s, burst: 5}\n", OnlyUs(NEWER)),
    ("rate_limit: {interval: soon}\n", Neither),
    ("rate_limit: {burst: many}\n", Neither),
];

#[test]
fn the_same_files_are_valid_as_for_promtool() {
    let files = Files::new();
    for (name, text) in [("junk", "junk"), ("empty", "")] {
        fs::write(files.path().join(name), text).expect("written");
    }
    files.authority.server().write(files.path(), "other");
    let with_tls = WITH_TLS.iter().map(|(text, accept)| (format!("{TLS}{text}"), *accept));
    let whole = WHOLE.iter().map(|&(text, accept)| (text.to_owned(), accept));
    let users = [(format!("basic_auth_users:\n  alice: {HASH}\n"), Both)];
    let mut wrong = Vec::new();
    for (text, accept) in with_tls.chain(whole).chain(users) {
        let path = files.web(&text);
        let ours = Live::open(&path);
        let expected = matches!(accept, Both | OnlyUs(_));
        if ours.is_ok() != expected {
            wrong.push(format!("{text:?}: we say {:?}, expected {accept:?}", ours.err()));
        }
        let path = path.to_str().expect("text");
        let Some(theirs) = promtool(&["check", "web-config", path], "") else { continue };
        if theirs.status.success() != matches!(accept, Both | OnlyPromtool(_)) {
            let said = String::from_utf8_lossy(&theirs.stderr);
            wrong.push(format!("{text:?}: promtool says {said}, expected {accept:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Inline certificates and keys are newer than the promtool of the table.
#[test]
fn certificates_and_keys_can_be_inline() {
    let files = Files::new();
    let server = files.authority.server();
    let indented =
        |text: &str| text.lines().map(|line| format!("    {line}\n")).collect::<String>();
    let text = format!(
        "tls_server_config:\n  cert: |\n{}  key: |\n{}  client_ca: |\n{}  client_auth_type: RequireAndVerifyClientCert\n",
        indented(&server.cert),
        indented(&server.key),
        indented(&files.authority.pem()),
    );
    let (address, _publisher, _) = files.serve(&text);
    let client = files.client().with(&files.authority.client(&["prometheus"]));
    assert!(client.scrape(address, None).expect("an answer").starts_with("HTTP/1.1 200 "));
}

/// No error message contains a secret.
#[test]
fn no_message_has_a_secret() {
    let files = Files::new();
    let secret = "hunter2-c0rrect-h0rse";
    let hash = "$2y$10$X0h1gDsPszWURQaxFh";
    for text in [
        format!("basic_auth_users: {secret}\n"),
        format!("basic_auth_users: [{secret}]\n"),
        format!("basic_auth_users: {{alice: {secret}}}\n"),
        format!("basic_auth_users: {{alice: *{secret}}}\n"),
        format!("basic_auth_users: {{alice: !{secret} x}}\n"),
        format!("basic_auth_users: {{alice: \"{secret}\n"),
        format!("basic_auth_users:\n  {hash}: alice\n"),
        format!("basic_auth_users:\n  alice: {hash}\n"),
        format!("basic_auth_users:\n alice: {hash}\n   bob: {hash}\n"),
        format!("{hash}: 1\n"),
        format!("{TLS}  key: {secret}\n  min_version: [{secret}]\n"),
        format!("tls_server_config:\n  cert_file: server.crt\n  key: {secret}\n"),
        format!("tls_server_config:\n  cert: {secret}\n  key_file: server.key\n"),
        format!(
            "tls_server_config:\n  cert_file: server.crt\n  key: -----BEGIN PRIVATE KEY-----\n{secret}\n"
        ),
        format!(
            "tls_server_config:\n  cert_file: server.crt\n  key: |\n    -----BEGIN {secret}-----\n    {secret}\n"
        ),
    ] {
        let error = Live::open(&files.web(&text)).expect_err(&text);
        for message in [error.to_string(), format!("{error:?}")] {
            assert!(!message.contains(secret) && !message.contains(hash), "{text:?}: {message}");
        }
    }
    let live = Live::open(&files.web(&format!("{TLS}basic_auth_users: {{alice: {HASH}}}\n")));
    assert!(!format!("{:?}", live.expect("valid")).contains("$2y"));
}
