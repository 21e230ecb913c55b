//! What clients get, and what they may not do.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{Signer, admin, connect, get, over, sign, start, text};

const SIGNED: &str = "{\"secure_request\":\"e30=\"}";

#[tokio::test]
async fn a_request_keeps_its_name_from_client_to_handler_and_back() {
    let (signer, _) = Signer::new();
    let running = start("{}", &signer, |_| ()).await;
    let mut connection = connect(running.addr.unwrap()).await;
    let mut request = sign("a");
    request
        .headers_mut()
        .insert("x-request-id", "from.the-client_1".parse().unwrap());
    let response = connection.send_request(request).await.unwrap();
    assert_eq!(response.headers()["x-request-id"], "from.the-client_1");
    assert_eq!(text(response).await, (200, SIGNED.to_owned()));

    let mut request = sign("b");
    request
        .headers_mut()
        .insert("x-request-id", "not sane".parse().unwrap());
    let response = connection.send_request(request).await.unwrap();
    let made = response.headers()["x-request-id"]
        .to_str()
        .unwrap()
        .to_owned();
    text(response).await;

    let contexts = signer.contexts.lock().unwrap();
    assert_eq!(contexts[0].request_id, "from.the-client_1");
    assert_eq!(contexts[1].request_id, made);
    assert_ne!(made, "not sane");
    assert!(contexts[0].peer.unwrap().ip().is_loopback());
    assert!(contexts[0].client_certificates.is_none());
}

#[tokio::test]
async fn only_a_trusted_proxy_says_whom_it_speaks_for() {
    for (config, believed) in [
        ("{}", false),
        ("{\"trusted_proxies\": \"192.0.2.1\"}", false),
        ("{\"trusted_proxies\": \"127.0.0.0/8\"}", true),
    ] {
        let (signer, _) = Signer::new();
        let running = start(config, &signer, |_| ()).await;
        let mut connection = connect(running.addr.unwrap()).await;
        let mut request = sign("a");
        request.headers_mut().insert(
            "x-forwarded-for",
            "203.0.113.9, 198.51.100.7".parse().unwrap(),
        );
        text(connection.send_request(request).await.unwrap()).await;
        let peer = signer.contexts.lock().unwrap()[0].peer.unwrap();
        assert_eq!(peer.to_string() == "198.51.100.7:0", believed, "{config}");
        assert_eq!(peer.ip().is_loopback(), !believed, "{config}");
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_told_so_in_json() {
    let (signer, _) = Signer::new();
    let running = start("{\"site\": \"too-large\"}", &signer, |_| ()).await;
    for length in [
        "Content-Length: 1048577\r\n",
        "Transfer-Encoding: chunked\r\n",
    ] {
        let mut client = TcpStream::connect(running.addr.unwrap()).await.unwrap();
        let head = format!(
            "POST /choria/v1/sign HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nConnection: close\r\n{length}\r\n"
        );
        client.write_all(head.as_bytes()).await.unwrap();
        let body = vec![b' '; 1024 * 1024 + 1];
        if length.starts_with('T') {
            client.write_all(b"100001\r\n").await.unwrap();
            client.write_all(&body).await.unwrap();
            client.write_all(b"\r\n0\r\n\r\n").await.unwrap();
        } else {
            client.write_all(&body).await.unwrap();
        }
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert!(
            body["error"].is_string() && body["detail"].is_string(),
            "{body}"
        );
    }
    // The service goes on.
    let mut connection = connect(running.addr.unwrap()).await;
    assert_eq!(
        text(connection.send_request(sign("a")).await.unwrap())
            .await
            .0,
        200
    );
    let (_, metrics) = admin(&running, "/metrics").await;
    let line = "choria_aaa_http_responses{site=\"too-large\",status=\"413\"} 2";
    assert!(metrics.lines().any(|found| found == line), "{metrics}");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_told_so() {
    let (signer, _) = Signer::new();
    let running = start("{\"body_timeout\": \"20ms\"}", &signer, |_| ()).await;
    let mut client = TcpStream::connect(running.addr.unwrap()).await.unwrap();
    let head = "POST /choria/v1/sign HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\n{";
    client.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

#[tokio::test]
async fn a_head_that_does_not_come_ends_the_connection_and_is_counted() {
    let (signer, _) = Signer::new();
    let config = "{\"header_timeout\": \"20ms\", \"site\": \"slow-head\"}";
    let running = start(config, &signer, |_| ()).await;
    let mut client = TcpStream::connect(running.addr.unwrap()).await.unwrap();
    client.write_all(b"POST /choria").await.unwrap();
    assert_eq!(client.read(&mut [0; 64]).await.unwrap(), 0);
    let (_, metrics) = admin(&running, "/metrics").await;
    let line = "choria_aaa_connection_errors{site=\"slow-head\",reason=\"header_timeout\"} 1";
    assert!(metrics.lines().any(|found| found == line), "{metrics}");
}

#[tokio::test]
async fn more_than_max_connections_wait_for_their_turn() {
    let (signer, mut entries) = Signer::new();
    let config = "{\"max_connections\": 1, \"site\": \"full\"}";
    let running = start(config, &signer, |_| ()).await;
    let address = running.addr.unwrap();

    let mut first = connect(address).await;
    let held = tokio::spawn(first.send_request(sign("hold")));
    assert_eq!(entries.recv().await.unwrap(), "hold");
    let second = TcpStream::connect(address).await.unwrap();
    let waiting =
        tokio::spawn(async move { over(second).await.send_request(sign("second")).await });
    // Nothing tells that a connection is not accepted; every chance to be is given.
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    assert!(entries.try_recv().is_err() && !waiting.is_finished());

    signer.leave.notify_one();
    assert_eq!(text(held.await.unwrap().unwrap()).await.0, 200);
    drop(first);
    assert_eq!(entries.recv().await.unwrap(), "second");
    assert_eq!(text(waiting.await.unwrap().unwrap()).await.0, 200);
    let (_, metrics) = admin(&running, "/metrics").await;
    let full = "choria_aaa_connection_errors{site=\"full\",reason=\"full\"} ";
    assert!(
        metrics.contains(full) && !metrics.contains(&format!("{full}0\n")),
        "{metrics}"
    );
    // What has not happened stands at zero, so that the first time is seen.
    let other = "choria_aaa_connection_errors{site=\"full\",reason=\"protocol\"} 0\n";
    assert!(metrics.contains(other), "{metrics}");
    assert!(
        metrics.contains("choria_aaa_connections{site=\"full\"}"),
        "{metrics}"
    );
}

#[tokio::test]
async fn what_is_not_there_is_told_so() {
    let (signer, _) = Signer::new();
    let running = start("{}", &signer, |_| ()).await;
    let mut connection = connect(running.addr.unwrap()).await;
    let (status, body) = text(connection.send_request(get("/x")).await.unwrap()).await;
    assert_eq!(status, 404);
    serde_json::from_str::<serde_json::Value>(&body).unwrap();
    let (status, _) = text(connection.send_request(get("/metrics")).await.unwrap()).await;
    assert_eq!(status, 404);
}
