//! A real nats-server.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

/// A running nats-server, killed when it goes out of scope. Its store outlives it, so that it can be started again.
pub struct NatsServer {
    program: PathBuf,
    dir: PathBuf,
    options: Options,
    ports: Ports,
    child: Child,
}

/// What a server is to be.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Whether it has JetStream, with its store under the test's directory.
    pub jetstream: bool,
    /// Whether it lets leafnodes connect.
    pub leafnodes: bool,
    /// More of its configuration, in its own syntax.
    pub more: String,
    /// A configuration that others use too, instead of all that.
    pub deployed: Option<Deployed>,
}

/// A configuration in a file, in a directory with all that it includes.
#[derive(Debug, Clone)]
pub struct Deployed {
    /// The file. Addresses and the directory for its store it takes from `NATS_LISTEN`, `NATS_LEAFNODES`, `NATS_ROUTES`, `NATS_STORE`.
    pub file: PathBuf,
    /// What else it takes from the environment.
    pub environment: Vec<(&'static str, String)>,
    /// Whether it is one of a cluster, as the `cluster.conf` beside it says.
    pub cluster: bool,
}

/// Ports that a server listens on; 0 for those that it has not, or that the kernel is to choose.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Ports {
    client: u16,
    leafnodes: u16,
    routes: u16,
}

/// The program: what `AAA_NATS_SERVER` names, else `nats-server` of the path. `None` means that this machine has none, which is
/// said; where `CI` is set it is a failure.
///
/// # Panics
/// When there is none and `CI` is set: there, a test that does not run is a test that fails.
pub fn program() -> Option<PathBuf> {
    let named = std::env::var_os("AAA_NATS_SERVER").map(PathBuf::from);
    let found = named.or_else(|| {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path)
            .map(|directory| directory.join("nats-server"))
            .find(|file| file.is_file())
    });
    if found.is_none() {
        eprintln!("not run: this test needs nats-server (make test-tools)");
        assert!(
            std::env::var_os("CI").is_none_or(|ci| ci.is_empty()),
            "nats-server is missing, and CI runs every test"
        );
    }
    found
}

/// Starts a server with JetStream in a directory, with more of its own configuration; `None` as for [`program`].
///
/// # Errors
/// As for [`NatsServer::start`].
pub fn jetstream(dir: &Path, more: &str) -> io::Result<Option<NatsServer>> {
    let options = Options {
        jetstream: true,
        more: more.to_owned(),
        ..Options::default()
    };
    program()
        .map(|program| NatsServer::start(&program, dir, options))
        .transpose()
}

impl NatsServer {
    /// Starts a server whose files lie in a directory, and returns when it is ready.
    ///
    /// # Errors
    /// When it cannot be started, or ends before it is ready; its log is in `nats.log` there.
    pub fn start(program: &Path, dir: &Path, options: Options) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let (child, ports) = launch(program, dir, &options, Ports::default())?;
        Ok(Self {
            program: program.to_owned(),
            dir: dir.to_owned(),
            options,
            ports,
            child,
        })
    }

    /// Where clients connect: `nats://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("nats://{}", self.address())
    }

    /// Where clients connect: `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.ports.client)
    }

    /// Where leafnodes connect: `nats://127.0.0.1:PORT`.
    pub fn leafnode_url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.ports.leafnodes)
    }

    /// Where the other servers of its cluster connect: `127.0.0.1:PORT`.
    pub fn route_address(&self) -> String {
        format!("127.0.0.1:{}", self.ports.routes)
    }

    /// Ends it at once, as a power cut would.
    ///
    /// # Errors
    /// When the system does not let it.
    pub fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(|_| ())
    }

    /// Starts it again after [`kill`](Self::kill), on the same ports and the same store.
    ///
    /// # Errors
    /// As for [`start`](Self::start).
    pub fn restart(&mut self) -> io::Result<()> {
        let more = self.options.more.clone();
        self.restart_with(&more)
    }

    /// Starts it again as [`restart`](Self::restart) does, with other settings of its own instead of those that it had.
    ///
    /// # Errors
    /// As for [`start`](Self::start).
    pub fn restart_with(&mut self, more: &str) -> io::Result<()> {
        more.clone_into(&mut self.options.more);
        let (child, ports) = launch(&self.program, &self.dir, &self.options, self.ports)?;
        self.child = child;
        self.ports = ports;
        Ok(())
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        // It may have been killed already.
        let _ = self.kill();
    }
}

fn launch(
    program: &Path,
    dir: &Path,
    options: &Options,
    ports: Ports,
) -> io::Result<(Child, Ports)> {
    let file = dir.join("nats.conf");
    fs::write(&file, configuration(dir, options)?)?;
    let environment = options
        .deployed
        .iter()
        .flat_map(|deployed| &deployed.environment);
    let mut child = Command::new(program)
        .arg("--config")
        .arg(&file)
        .env("NATS_LISTEN", listen(ports.client))
        .env("NATS_LEAFNODES", listen(ports.leafnodes))
        .env("NATS_ROUTES", listen(ports.routes))
        .env("NATS_STORE", dir.join("jetstream"))
        .envs(environment.map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let log = child.stderr.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let mut log = BufReader::new(log);
    let cluster = options
        .deployed
        .as_ref()
        .is_some_and(|deployed| deployed.cluster);
    match wait_until_ready(&mut log, cluster) {
        Ok(ports) => {
            // It must never wait for somebody to read what it logs.
            let kept = dir.join("nats.log");
            thread::spawn(move || {
                let mut file = fs::OpenOptions::new()
                    .create(true)
                    .append(true)
                    .open(kept)?;
                io::copy(&mut log, &mut file)
            });
            Ok((child, ports))
        }
        Err(error) => {
            child.kill()?;
            child.wait()?;
            Err(error)
        }
    }
}

fn configuration(dir: &Path, options: &Options) -> io::Result<String> {
    if let Some(Deployed { file, cluster, .. }) = &options.deployed {
        // What is included is looked for beside it.
        for beside in fs::read_dir(file.parent().unwrap_or(Path::new(".")))? {
            let beside = beside?;
            if beside
                .path()
                .extension()
                .is_some_and(|extension| extension == "conf")
            {
                fs::copy(beside.path(), dir.join(beside.file_name()))?;
            }
        }
        let more = if *cluster {
            "\ninclude cluster.conf\n"
        } else {
            ""
        };
        return Ok(fs::read_to_string(file)? + more);
    }
    let jetstream = options
        .jetstream
        .then_some("jetstream { store_dir: $NATS_STORE }\n");
    let leafnodes = options
        .leafnodes
        .then_some("leafnodes { listen: $NATS_LEAFNODES }\n");
    Ok([
        "listen: $NATS_LISTEN\n",
        jetstream.unwrap_or_default(),
        leafnodes.unwrap_or_default(),
        &options.more,
    ]
    .concat())
}

/// An address on this machine, with the port that it had or one that the kernel chooses.
fn listen(port: u16) -> String {
    let port = if port == 0 { -1 } else { i32::from(port) };
    format!("127.0.0.1:{port}")
}

/// Reads its log until it says that it is ready, and for others of a cluster too; the ports stand there.
fn wait_until_ready(log: &mut impl BufRead, cluster: bool) -> io::Result<Ports> {
    let mut ports = Ports::default();
    let (mut heard, mut ready) = (String::new(), false);
    for line in log.lines() {
        let line = line?;
        let port = || line.rsplit(':').next()?.trim().parse::<u16>().ok();
        if line.contains("Listening for client connections on") {
            ports.client = port().unwrap_or_default();
        } else if line.contains("Listening for leafnode connections on") {
            ports.leafnodes = port().unwrap_or_default();
        } else if line.contains("Listening for route connections on") {
            ports.routes = port().unwrap_or_default();
        }
        ready |= line.contains("Server is ready");
        if ready && (ports.routes != 0 || !cluster) {
            return Ok(ports);
        }
        heard.push_str(&line);
        heard.push('\n');
    }
    Err(io::Error::other(format!("nats-server ended:\n{heard}")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn it_comes_back_on_the_ports_it_had() {
        let Some(program) = program() else { return };
        let dir = std::env::temp_dir().join(format!("aaa-testing-{}", std::process::id()));
        let options = Options {
            jetstream: true,
            leafnodes: true,
            ..Options::default()
        };
        let mut server = NatsServer::start(&program, &dir, options).unwrap();
        let (url, leafnodes) = (server.url(), server.leafnode_url());
        std::net::TcpStream::connect(server.address()).unwrap();
        server.kill().unwrap();
        std::net::TcpStream::connect(server.address()).unwrap_err();
        server.restart().unwrap();
        assert_eq!((server.url(), server.leafnode_url()), (url, leafnodes));
        drop(server);
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_configuration_it_does_not_take_is_told() {
        let Some(program) = program() else { return };
        let dir = std::env::temp_dir().join(format!("aaa-testing-bad-{}", std::process::id()));
        let options = Options {
            more: "no_such_setting: 1\n".to_owned(),
            ..Options::default()
        };
        let error = NatsServer::start(&program, &dir, options).err().unwrap();
        assert!(error.to_string().contains("no_such_setting"), "{error}");
        fs::remove_dir_all(dir).unwrap();
    }
}
