//! From the start of a program to its first word that it is ready.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use http::Uri;

use crate::cli::StartOptions;
use crate::failure::Failure;
use crate::outcome::{self, Outcome, Start};

/// How long a program may take.
const LONGEST: Duration = Duration::from_mins(1);
/// How long an answer may take; the program may be busy with starting.
const ANSWER: Duration = Duration::from_secs(5);
/// How often it is asked: often enough to matter little in the result, seldom enough to leave it the machine.
const PAUSE: Duration = Duration::from_micros(500);

/// `aaa-load start`.
pub(crate) fn run(options: &StartOptions) -> Result<(), Failure> {
    let ready = Ready::new(&options.ready)?;
    let mut ready_ms = Vec::new();
    let mut left = None;
    for remaining in (0..options.repeat).rev() {
        let mut child = spawn(options)?;
        match await_ready(&mut child, &ready) {
            Ok(took) => ready_ms.push(took.as_secs_f64() * 1000.0),
            Err(failure) => {
                end(&mut child)?;
                return Err(failure);
            }
        }
        if remaining == 0 && options.keep {
            left = Some(child.id());
        } else {
            end(&mut child)?;
        }
    }
    let start = Start {
        label: options.output.label.clone(),
        ready_ms,
        pid: left,
    };
    outcome::print(&Outcome::Start(start), options.output.json)
}

fn spawn(options: &StartOptions) -> Result<Running, Failure> {
    let (program, arguments) = options
        .command
        .split_first()
        .ok_or_else(|| Failure::new("which program? say it after --"))?;
    let failed = |error| Failure::while_doing(options.log.display(), error);
    let log = File::options()
        .create(true)
        .append(true)
        .open(&options.log)
        .map_err(failed)?;
    let also = log.try_clone().map_err(failed)?;
    let started = Instant::now();
    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(also)
        .spawn()
        .map_err(|error| Failure::while_doing(program.display(), error))?;
    Ok(Running { child, started })
}

struct Running {
    child: Child,
    started: Instant,
}

impl Running {
    fn id(&self) -> u32 {
        self.child.id()
    }
}

fn await_ready(running: &mut Running, ready: &Ready) -> Result<Duration, Failure> {
    while !ready.now() {
        let ended = running.child.try_wait();
        if let Ok(Some(status)) = ended {
            return Err(Failure::new(format!(
                "the program ended before it was ready: {status}; see its log"
            )));
        }
        if running.started.elapsed() > LONGEST {
            return Err(Failure::new(
                "the program is not ready after a minute; see its log",
            ));
        }
        sleep(PAUSE);
    }
    Ok(running.started.elapsed())
}

fn end(running: &mut Running) -> Result<(), Failure> {
    let ended = running.child.kill().and_then(|()| running.child.wait());
    ended
        .map(|_| ())
        .map_err(|error| Failure::while_doing("ending the program", error))
}

/// What tells that a program is ready.
struct Ready {
    address: SocketAddr,
    /// What to ask for; without it, that somebody listens is enough.
    request: Option<String>,
}

impl Ready {
    fn new(url: &str) -> Result<Self, Failure> {
        let wrong =
            || Failure::while_doing(url, "wanted is http://host:port/path or tcp://host:port");
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let (host, port) = uri.host().zip(uri.port_u16()).ok_or_else(wrong)?;
        let address = (host, port)
            .to_socket_addrs()
            .map_err(|error| Failure::while_doing(url, error))?
            .next()
            .ok_or_else(wrong)?;
        let request = match uri.scheme_str() {
            Some("tcp") => None,
            Some("http") => Some(format!(
                "GET {} HTTP/1.1\r\nhost: {host}:{port}\r\nconnection: close\r\n\r\n",
                uri.path()
            )),
            _ => return Err(wrong()),
        };
        Ok(Self { address, request })
    }

    fn now(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect_timeout(&self.address, ANSWER) else {
            return false;
        };
        let Some(request) = &self.request else {
            return true;
        };
        let wanted = b"HTTP/1.1 200";
        let mut start = [0; 12];
        stream.set_read_timeout(Some(ANSWER)).is_ok()
            && stream.write_all(request.as_bytes()).is_ok()
            && stream.read_exact(&mut start).is_ok()
            && start == *wanted
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn only_a_200_is_ready() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let answers = ["503 Service Unavailable", "200 OK"];
        let server = std::thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut asked = Vec::new();
                while !asked.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).unwrap();
                    asked.extend(byte);
                }
                assert!(asked.starts_with(b"GET /healthz/ready HTTP/1.1\r\n"));
                let answer = format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n");
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        let ready = Ready::new(&format!("http://{address}/healthz/ready")).unwrap();
        assert!(!ready.now());
        assert!(ready.now());
        server.join().unwrap();
        assert!(!ready.now(), "nobody listens any more");
    }

    #[test]
    fn a_port_is_ready_when_somebody_listens() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("tcp://{}", listener.local_addr().unwrap());
        assert!(Ready::new(&url).unwrap().now());
        drop(listener);
        assert!(!Ready::new(&url).unwrap().now());
    }

    #[test]
    fn other_urls_are_refused() {
        for url in [
            "",
            "https://localhost:1/",
            "http://localhost/",
            "localhost:80",
        ] {
            assert!(Ready::new(url).is_err(), "{url}");
        }
    }
}
