//! `aaa health`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::thread;

use super::support::{Home, Services};

#[test]
fn a_service_is_ready_until_it_is_gone() {
    let home = Home::new();
    let mut services = Services::start(&home);
    let run = home.aaa(&["health", &services.admin]).ends(0);
    assert_eq!(run.stdout, "ready\n");
    // Another port of the same service is not that of its health.
    let clients = services.url.trim_start_matches("https://");
    home.aaa(&["health", clients]).ends(1).without_data();
    services.stop();
    home.aaa(&["health", &services.admin])
        .ends(1)
        .without_data()
        .says("cannot reach");
}

#[test]
fn a_service_that_is_not_ready_says_why() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let service = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = BufReader::new(stream.try_clone().unwrap()).lines();
        let asked = head.next().unwrap().unwrap();
        head.find(|line| line.as_ref().unwrap().is_empty());
        stream
            .write_all(b"HTTP/1.1 503 No\r\nContent-Length: 16\r\n\r\nusers: \x1bstarting")
            .unwrap();
        asked
    });
    Home::new()
        .aaa(&["health", &address])
        .ends(1)
        .without_data()
        .says("503 Service Unavailable: users:  starting");
    assert_eq!(service.join().unwrap(), "GET /healthz/ready HTTP/1.1");
}

#[test]
fn an_address_that_is_none_is_wrong_usage() {
    Home::new().aaa(&["health", "a b"]).ends(64).without_data();
}
