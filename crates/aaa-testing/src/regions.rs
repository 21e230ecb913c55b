//! A centre and its regions, as `deploy/nats` has them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::nats::{Deployed, NatsServer, Options, program};

/// The name of the centre.
pub const CENTRE: &str = "centre";

/// Servers of NATS, one for each place, with TLS and passwords.
pub struct Regions {
    /// That of the centre.
    pub centre: NatsServer,
    /// Those of the regions.
    pub regions: Vec<NatsServer>,
    dir: PathBuf,
}

impl Regions {
    /// Starts them in a directory; `None` as for [`program`].
    ///
    /// # Errors
    /// When one does not start.
    pub fn start(dir: &Path, regions: &[&str]) -> io::Result<Option<Self>> {
        let Some(program) = program() else {
            return Ok(None);
        };
        secrets(dir)?;
        let centre = place(&program, dir, CENTRE, None)?;
        let regions = regions
            .iter()
            .map(|region| place(&program, dir, region, Some(&centre)));
        Ok(Some(Self {
            regions: regions.collect::<io::Result<_>>()?,
            centre,
            dir: dir.to_owned(),
        }))
    }

    /// The certificate that their certificates are issued by.
    pub fn authority(&self) -> PathBuf {
        self.dir.join("tls.crt")
    }

    /// The file with the password of a user: `service`, `reader` or `operator`.
    pub fn password_file(&self, user: &str) -> PathBuf {
        self.dir.join(user)
    }
}

/// Starts three servers of the centre that keep copies for each other; `None` as for [`program`].
///
/// # Errors
/// When one does not start.
pub fn cluster(dir: &Path) -> io::Result<Option<Vec<NatsServer>>> {
    let Some(program) = program() else {
        return Ok(None);
    };
    secrets(dir)?;
    let mut servers: Vec<NatsServer> = Vec::new();
    for name in ["a", "b", "c"] {
        // The first knows nobody: the others find it, and through it each other.
        let peer = servers.first().map(NatsServer::route_address);
        let peer = peer.unwrap_or_else(|| "127.0.0.1:1".to_owned());
        let mut environment = environment(dir, CENTRE, name, "");
        environment.push(("NATS_CLUSTER", "audit".to_owned()));
        environment.push(("NATS_PEERS", format!("[\"tls://{peer}\"]")));
        let options = Options {
            deployed: Some(Deployed {
                file: configuration("centre.conf"),
                environment,
                cluster: true,
            }),
            ..Options::default()
        };
        servers.push(NatsServer::start(&program, &dir.join(name), options)?);
    }
    Ok(Some(servers))
}

fn place(
    program: &Path,
    dir: &Path,
    name: &str,
    centre: Option<&NatsServer>,
) -> io::Result<NatsServer> {
    let (file, leafnodes) = match centre {
        None => ("centre.conf", String::new()),
        Some(centre) => ("region.conf", centre.leafnode_url()),
    };
    let leafnodes = leafnodes.replace("nats://", "tls://region:region@");
    let options = Options {
        deployed: Some(Deployed {
            file: configuration(file),
            environment: environment(dir, name, name, &leafnodes),
            cluster: false,
        }),
        ..Options::default()
    };
    NatsServer::start(program, &dir.join(name), options)
}

fn configuration(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../deploy/nats")
        .join(name)
}

fn environment(dir: &Path, place: &str, name: &str, centre: &str) -> Vec<(&'static str, String)> {
    let file = |name: &str| dir.join(name).display().to_string();
    vec![
        ("NATS_PLACE", place.to_owned()),
        ("NATS_NAME", name.to_owned()),
        ("NATS_CENTRE", centre.to_owned()),
        ("NATS_CERTIFICATE", file("tls.crt")),
        ("NATS_KEY", file("tls.key")),
        ("NATS_CA", file("tls.crt")),
        ("NATS_SERVICE_PASSWORD", "service".to_owned()),
        ("NATS_READER_PASSWORD", "reader".to_owned()),
        ("NATS_OPERATOR_PASSWORD", "operator".to_owned()),
        ("NATS_REGION_PASSWORD", "region".to_owned()),
    ]
}

/// A certificate for this machine, and the passwords, which are the names of the users.
fn secrets(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).map_err(io::Error::other)?;
    fs::write(dir.join("tls.crt"), made.cert.pem())?;
    fs::write(dir.join("tls.key"), made.signing_key.serialize_pem())?;
    for user in ["service", "reader", "operator"] {
        fs::write(dir.join(user), user)?;
    }
    Ok(())
}
