//! What the service manager is told, by the binary that is shipped.

use std::time::Duration;

use tokio::net::UnixDatagram;

use crate::support::daemon::Home;

/// The next notification that is none of the watchdog's, and how many of these came before it.
async fn told(manager: &UnixDatagram) -> (String, usize) {
    let mut beats = 0;
    loop {
        let mut read = [0; 1024];
        let received = tokio::time::timeout(Duration::from_mins(1), manager.recv(&mut read));
        let length = received.await.expect("a word within a minute").unwrap();
        let text = String::from_utf8(read[..length].to_vec()).unwrap();
        if text.trim() != "WATCHDOG=1" {
            return (text, beats);
        }
        beats += 1;
    }
}

#[tokio::test]
async fn the_service_manager_is_told_how_it_stands() {
    let home = Home::new().await;
    let socket = home.path("manager");
    let manager = UnixDatagram::bind(&socket).unwrap();
    let socket = socket.display().to_string();
    let env = [("NOTIFY_SOCKET", socket.as_str()), ("WATCHDOG_USEC", "200000")];
    let daemon = home.spawn_under(&[], &env).await;
    assert_eq!(told(&manager).await.0.trim(), "READY=1");
    let mut beat = [0; 64];
    let length = manager.recv(&mut beat).await.unwrap();
    assert_eq!(std::str::from_utf8(&beat[..length]).unwrap().trim(), "WATCHDOG=1");
    daemon.signal("-HUP").await;
    let (reloading, _) = told(&manager).await;
    let mut lines = reloading.lines();
    assert_eq!(lines.next(), Some("RELOADING=1"));
    let at = lines.next().and_then(|line| line.strip_prefix("MONOTONIC_USEC="));
    assert!(at.unwrap().parse::<u64>().unwrap() > 0, "{reloading}");
    assert_eq!(told(&manager).await.0.trim(), "READY=1");
    assert_eq!(daemon.terminate().await.0, Some(0));
    assert_eq!(told(&manager).await.0.trim(), "STOPPING=1");
}

#[tokio::test]
async fn a_daemon_without_a_manager_tells_nobody() {
    let home = Home::new().await;
    let daemon = home.spawn_under(&[], &[]).await;
    let (code, log) = daemon.terminate().await;
    assert_eq!(code, Some(0));
    assert!(!log.contains("service manager"), "{log}");
}
