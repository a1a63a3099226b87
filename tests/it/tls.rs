//! TLS without a proxy: what is spoken, and certificates that change while it runs.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use quell::store::View;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::daemon::{Callbacks, Home, TestApp, message, quell};

/// A certificate of a name, written where the daemon reads it. Answers it as clients trust it.
fn write_pair(folder: &Path, name: &str) -> CertificateDer<'static> {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed([name.to_owned()]).unwrap();
    std::fs::write(folder.join("key.pem"), signing_key.serialize_pem()).unwrap();
    std::fs::write(folder.join("cert.pem"), cert.pem()).unwrap();
    cert.der().clone()
}

fn settings(home: &Home, section: &str) -> [String; 2] {
    ["cert", "key"]
        .map(|what| format!("{section}.tls_{what}={}", home.path(&format!("{what}.pem")).display()))
}

async fn start(home: &Home) -> TestApp {
    let [cert, key] = settings(home, "server");
    home.start(&[&cert, &key, "server.header_timeout_ms=2000"]).await
}

async fn connect(
    app: &TestApp,
    trusted: &CertificateDer<'static>,
    name: &str,
    versions: &[&'static SupportedProtocolVersion],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let stream = TcpStream::connect(app.app().callback_address()).await.unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// Sends a callback on a connection that stays open; answers the status.
async fn say(stream: &mut TlsStream<TcpStream>, seq: u64) -> String {
    let body = message("g", seq, "fine").to_string();
    let query = Callbacks::query("Group.CallbackAfterSendMsg");
    let head = format!("POST /callback?{query} HTTP/1.1\r\nHost: x\r\n");
    let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; 1024];
    let read = stream.read(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer[..read]).chars().take(15).collect()
}

const BOTH: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];

#[tokio::test]
async fn callbacks_are_taken_in_over_tls() {
    let home = Home::new().await;
    let trusted = write_pair(home.folder.path(), "quell.example");
    let app = start(&home).await;
    for (seq, versions) in [(1, BOTH), (2, &BOTH[..1]), (3, &BOTH[1..])] {
        let mut stream = connect(&app, &trusted, "quell.example", versions).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"http/1.1".as_slice()));
        assert_eq!(say(&mut stream, seq).await, "HTTP/1.1 200 OK");
    }
    assert!(connect(&app, &trusted, "other.example", BOTH).await.is_err());
    // Whoever speaks plain HTTP here gets no answer and stands in nobody's way.
    let mut plain = TcpStream::connect(app.app().callback_address()).await.unwrap();
    plain.write_all(b"POST /callback HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    let mut stream = connect(&app, &trusted, "quell.example", BOTH).await.unwrap();
    assert_eq!(say(&mut stream, 4).await, "HTTP/1.1 200 OK");
    app.stop().await;
}

#[tokio::test]
async fn a_greeting_that_never_comes_is_not_waited_for() {
    let home = Home::new().await;
    write_pair(home.folder.path(), "quell.example");
    let mut set = settings(&home, "server").to_vec();
    set.push("server.header_timeout_ms=150".to_owned());
    let app = home.start(&set.iter().map(String::as_str).collect::<Vec<_>>()).await;
    for first in [b"".as_slice(), b"\x16\x03\x01\x02\x00"] {
        let mut silent = TcpStream::connect(app.app().callback_address()).await.unwrap();
        silent.write_all(first).await.unwrap();
        let mut answer = Vec::new();
        let ended = silent.read_to_end(&mut answer);
        let ended = tokio::time::timeout(Duration::from_secs(10), ended).await;
        assert!(ended.is_ok(), "the connection stayed open");
    }
    app.stop().await;
}

#[tokio::test]
async fn a_new_certificate_is_used_and_a_broken_one_is_not() {
    let home = Home::new().await;
    let folder = home.folder.path();
    let first = write_pair(folder, "quell.example");
    let app = start(&home).await;
    let mut old = connect(&app, &first, "quell.example", BOTH).await.unwrap();
    assert_eq!(say(&mut old, 1).await, "HTTP/1.1 200 OK");

    let second = write_pair(folder, "quell.example");
    assert_eq!(app.post("/-/reload", serde_json::Value::Null).await.0, 200);
    let mut new = connect(&app, &second, "quell.example", BOTH).await.unwrap();
    assert_eq!(say(&mut new, 2).await, "HTTP/1.1 200 OK");
    assert!(connect(&app, &first, "quell.example", BOTH).await.is_err());
    assert_eq!(say(&mut old, 3).await, "HTTP/1.1 200 OK", "an open connection is left alone");

    let cert = std::fs::read(home.path("cert.pem")).unwrap();
    write_pair(folder, "quell.example");
    for broken in [cert, b"nonsense".to_vec(), Vec::new()] {
        // A certificate of another key, no certificate at all, an empty file.
        std::fs::write(home.path("cert.pem"), broken).unwrap();
        let (status, said) = app.post("/-/reload", serde_json::Value::Null).await;
        assert_eq!(status, 422);
        assert!(said.to_string().contains("cert.pem"), "{said}");
        let mut kept = connect(&app, &second, "quell.example", BOTH).await.unwrap();
        assert_eq!(say(&mut kept, 4).await, "HTTP/1.1 200 OK");
    }
    // The rules came into force each time, and that is on record.
    assert_eq!(app.column(View::Operations, "act").await, ["reload"; 4]);
    app.stop().await;
}

#[tokio::test]
async fn commands_reach_a_daemon_whose_admin_listener_speaks_tls() {
    let home = Home::new().await;
    write_pair(home.folder.path(), "quell.example");
    let [cert, key] = settings(&home, "admin");
    let app = home.start(&[&cert, &key]).await;
    let config = home.config_path();
    let listen = format!("admin.listen={}", app.app().admin_address());
    let args = ["healthcheck", "--config", config.to_str().unwrap(), "--set", &listen];
    let args: Vec<_> = args.into_iter().chain(["--set", &cert, "--set", &key]).collect();
    let (code, _, said) = quell(&args, home.folder.path()).await;
    assert_eq!(code, Some(0), "{said}");
    let args: Vec<_> = std::iter::once("pause").chain(args[1..].iter().copied()).collect();
    let (code, _, said) = quell(&args, home.folder.path()).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(app.app().worker().status().paused);
    app.stop().await;
}

#[tokio::test]
async fn a_session_that_began_over_tls_never_travels_without_it() {
    let home = Home::new().await;
    write_pair(home.folder.path(), "quell.example");
    let [cert, key] = settings(&home, "admin");
    let over_tls: &[&str] = &[&cert, &key, "admin.token=operate"];
    for (set, proxy, secure) in [
        (over_tls, "", true),
        (&["admin.token=operate"], "https", true),
        (&["admin.token=operate"], "http", false),
    ] {
        let app = home.start(set).await;
        // The certificate is one of this test's own making.
        let client = reqwest::Client::builder().no_proxy().danger_accept_invalid_certs(true);
        let client = client.redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let scheme = if set.len() == over_tls.len() { "https" } else { "http" };
        let origin = format!("{scheme}://{}", app.app().admin_address());
        for (path, form) in [("/login", "token=operate&name=ada"), ("/logout", "")] {
            let request = client.post(format!("{origin}{path}")).header("origin", &origin);
            let answer = request.header("x-forwarded-proto", proxy).body(form).send().await;
            let answer = answer.unwrap();
            assert_eq!(answer.status(), 303, "{path}");
            let cookie = answer.headers()["set-cookie"].to_str().unwrap();
            assert_eq!(cookie.contains("; Secure"), secure, "{path} {proxy}: {cookie}");
        }
        app.stop().await;
    }
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_is_a_mistake_of_the_configuration() {
    let home = Home::new().await;
    write_pair(home.folder.path(), "quell.example");
    let config = home.config_path();
    let [cert, key] = settings(&home, "server");
    for (set, expected) in [
        (vec![cert.as_str()], "server.tls_key"),
        (vec![cert.as_str(), "server.tls_key=/no/such/key.pem"], "/no/such/key.pem"),
        (vec!["server.tls_cert=/no/such/cert.pem", key.as_str()], "/no/such/cert.pem"),
    ] {
        let mut args = vec!["serve", "--config", config.to_str().unwrap()];
        for set in &set {
            args.extend(["--set", set]);
        }
        let (code, _, said) = quell(&args, home.folder.path()).await;
        assert_eq!(code, Some(78), "{said}");
        assert!(said.contains(expected), "{said}");
    }
}

#[tokio::test]
async fn listeners_beyond_this_machine_want_a_token() {
    let home = Home::new().await;
    let config = home.config_path();
    for (set, expected) in [
        (["server.listen=0.0.0.0:0", "chat.callback_token="], "chat.callback_token is not set"),
        (["admin.listen=0.0.0.0:0", "admin.token="], "admin.token is not set"),
        (["admin.listen=[::]:0", "admin.read_token=x"], "admin.token is not set"),
    ] {
        let [first, second] = set;
        let args = ["serve", "--config", config.to_str().unwrap(), "--set", first, "--set", second];
        let (code, _, said) = quell(&args, home.folder.path()).await;
        assert_eq!(code, Some(78), "{said}");
        assert!(said.contains(expected), "{said}");
    }
    let open = ["server.listen=0.0.0.0:0", "chat.callback_token=", "server.insecure=true"];
    home.spawn(&open).await.terminate().await;
}
