use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::*;

const HEADER: Duration = Duration::from_secs(10);
const IDLE: Duration = Duration::from_secs(90);

/// Says how long the body was, once it may.
#[derive(Default)]
struct Echo {
    hold: Option<Arc<Notify>>,
}

impl Respond for Echo {
    async fn respond(&self, _: &Link, request: Request<Incoming>) -> Response<Body> {
        let body = request
            .into_body()
            .collect()
            .await
            .map(|body| body.to_bytes().len());
        if let Some(hold) = &self.hold {
            hold.notified().await;
        }
        Response::new(Body::from(format!("{body:?}")))
    }
}

struct Served {
    client: DuplexStream,
    drain: CancellationToken,
    end: JoinHandle<(End, Duration)>,
}

/// Serves one connection in memory. The end comes with the time it took.
fn serve(echo: Echo) -> Served {
    let (client, server) = duplex(64 * 1024);
    let drain = CancellationToken::new();
    let draining = drain.clone();
    let end = tokio::spawn(async move {
        let http = Http::new(Arc::new(echo), HEADER, IDLE);
        let link = Link {
            peer: SocketAddr::from(([192, 0, 2, 1], 4711)),
            certificates: None,
        };
        let start = Instant::now();
        let end = http.serve(server, link, &draining).await;
        (end, start.elapsed())
    });
    Served { client, drain, end }
}

async fn read_some(client: &mut DuplexStream) -> String {
    let mut text = String::new();
    while !text.contains("Ok(") {
        let mut buffer = [0; 1024];
        let read = client.read(&mut buffer).await.unwrap();
        assert!(read > 0, "closed after {text}");
        text.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
    }
    text
}

const WHOLE: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";

#[tokio::test(start_paused = true)]
async fn a_client_that_says_nothing_is_ended() {
    let served = serve(Echo::default());
    let (end, took) = served.end.await.unwrap();
    assert!(matches!(end, End::TimedOut("header_timeout")), "{end:?}");
    assert_eq!(took, HEADER);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_comes_drop_by_drop_is_ended_when_its_time_is_over() {
    let mut served = serve(Echo::default());
    for byte in WHOLE {
        if served.client.write_all(&[*byte]).await.is_err() {
            break;
        }
        // Paused time: nothing waits.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let (end, took) = served.end.await.unwrap();
    assert!(matches!(end, End::TimedOut("header_timeout")), "{end:?}");
    assert_eq!(took, HEADER);
}

#[tokio::test(start_paused = true)]
async fn between_requests_a_connection_may_lie_idle_longer() {
    let mut served = serve(Echo::default());
    served.client.write_all(WHOLE).await.unwrap();
    assert!(read_some(&mut served.client).await.ends_with("Ok(3)"));
    tokio::time::advance(Duration::from_mins(1)).await;
    served.client.write_all(WHOLE).await.unwrap();
    assert!(read_some(&mut served.client).await.ends_with("Ok(3)"));
    let (end, took) = served.end.await.unwrap();
    assert!(matches!(end, End::Closed), "{end:?}");
    assert_eq!(took.as_secs(), 60 + 90);
}

#[tokio::test(start_paused = true)]
async fn the_head_of_a_later_request_has_the_time_of_a_head() {
    let mut served = serve(Echo::default());
    served.client.write_all(WHOLE).await.unwrap();
    read_some(&mut served.client).await;
    tokio::time::advance(Duration::from_mins(1)).await;
    served.client.write_all(b"POST").await.unwrap();
    let (end, took) = served.end.await.unwrap();
    assert!(matches!(end, End::TimedOut("header_timeout")), "{end:?}");
    assert_eq!(took.as_secs(), 60 + 10);
}

#[tokio::test(start_paused = true)]
async fn a_request_in_hand_is_not_timed_and_is_finished_on_drain() {
    let hold = Arc::new(Notify::new());
    let mut served = serve(Echo {
        hold: Some(Arc::clone(&hold)),
    });
    served.client.write_all(WHOLE).await.unwrap();
    tokio::time::sleep(Duration::from_mins(10)).await;
    assert!(!served.end.is_finished());
    served.drain.cancel();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!served.end.is_finished());
    hold.notify_one();
    let answer = read_some(&mut served.client).await;
    assert!(
        answer.contains("connection: close") && answer.ends_with("Ok(3)"),
        "{answer}"
    );
    assert!(matches!(served.end.await.unwrap().0, End::Closed));
}

#[tokio::test(start_paused = true)]
async fn idle_and_untouched_connections_end_at_once_on_drain() {
    let served = serve(Echo::default());
    tokio::task::yield_now().await;
    served.drain.cancel();
    let (end, took) = served.end.await.unwrap();
    assert!(matches!(end, End::Closed), "{end:?}");
    assert_eq!(took, Duration::ZERO);

    let mut served = serve(Echo::default());
    served.client.write_all(WHOLE).await.unwrap();
    read_some(&mut served.client).await;
    served.drain.cancel();
    let (end, took) = served.end.await.unwrap();
    assert!(matches!(end, End::Closed), "{end:?}");
    assert_eq!(took, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn heads_have_a_size() {
    let mut served = serve(Echo::default());
    let long = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
        "x".repeat(HEAD_BYTES)
    );
    served.client.write_all(long.as_bytes()).await.unwrap();
    let mut text = String::new();
    served.client.read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 431 "), "{text}");
    assert!(matches!(served.end.await.unwrap().0, End::Failed(_)));
}

/// A client of HTTP/2 that opens a connection and asks nothing has the same time, whatever else it says.
#[tokio::test(start_paused = true)]
async fn an_http2_client_that_asks_nothing_is_ended() {
    let mut served = serve(Echo::default());
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    served
        .client
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .await
        .unwrap();
    served.client.write_all(&settings).await.unwrap();
    let (end, took) = served.end.await.unwrap();
    assert!(matches!(end, End::TimedOut("header_timeout")), "{end:?}");
    assert_eq!(took, HEADER);
}
