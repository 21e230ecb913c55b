//! A proxy between a client and a real server, which can keep what the server answers to itself.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// A proxy on a port of its own. It lives until the test's process ends.
#[derive(Clone)]
pub struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    valve: Mutex<Valve>,
    turned: Condvar,
}

#[derive(Default)]
struct Valve {
    held: bool,
    connections: Vec<TcpStream>,
}

impl Proxy {
    /// Starts a proxy for a server at `host:port`.
    ///
    /// # Errors
    /// When there is no port for it.
    pub fn start(server: &str) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let proxy = Self {
            address: listener.local_addr()?,
            state: Arc::default(),
        };
        let (state, server) = (Arc::clone(&proxy.state), server.to_owned());
        thread::spawn(move || {
            for client in listener.incoming() {
                // A server that is away is a connection that ends.
                let _ended = client.and_then(|client| join(&state, client, &server));
            }
        });
        Ok(proxy)
    }

    /// Where clients connect: `nats://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// From now on what servers answer does not arrive, on any connection.
    pub fn hold(&self) {
        self.state.lock().held = true;
    }

    /// Ends all connections, with what was held back, and lets new ones be.
    pub fn release(&self) {
        let mut valve = self.state.lock();
        valve.held = false;
        for connection in valve.connections.drain(..) {
            let _gone = connection.shutdown(Shutdown::Both);
        }
        self.state.turned.notify_all();
    }
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Valve> {
        self.valve.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while answers are held back.
    fn pass(&self) {
        let valve = self.lock();
        let waited = self.turned.wait_while(valve, |valve| valve.held);
        drop(waited);
    }
}

fn join(state: &Arc<State>, client: TcpStream, server: &str) -> io::Result<()> {
    let server = TcpStream::connect(server)?;
    let mut valve = state.lock();
    valve
        .connections
        .extend([client.try_clone()?, server.try_clone()?]);
    drop(valve);
    let (from_client, to_server) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || carry(from_client, to_server, || ()));
    let state = Arc::clone(state);
    thread::spawn(move || carry(server, client, || state.pass()));
    Ok(())
}

fn carry(mut from: TcpStream, mut to: TcpStream, pass: impl Fn()) {
    let mut buffer = [0; 16 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        pass();
        let Some(bytes) = buffer.get(..read) else {
            break;
        };
        if to.write_all(bytes).is_err() {
            break;
        }
    }
    let _gone = to.shutdown(Shutdown::Both);
}
