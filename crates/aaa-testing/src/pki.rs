//! An authority that issues and revokes certificates, as the `openssl` command does it.

use std::fmt::Write as _;
use std::io::{Error, Result};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// What `openssl ca` reads. `@DIR@` is the authority's directory.
const CONFIG: &str = "\
[ca]
default_ca = this
[this]
database = @DIR@/index.txt
new_certs_dir = @DIR@
serial = @DIR@/serial
crlnumber = @DIR@/crlnumber
certificate = @DIR@/ca.crt
private_key = @DIR@/ca.key
default_md = sha256
default_days = 30
default_crl_days = 30
unique_subject = no
policy = any
[any]
commonName = optional
[req]
distinguished_name = name
string_mask = utf8only
[name]
";

/// An authority in a directory.
pub struct Authority {
    dir: PathBuf,
    issued: AtomicU32,
}

/// A certificate and its key.
pub struct Issued {
    /// The certificate in PEM.
    pub certificate: String,
    /// Its private key in PEM.
    pub key: String,
    /// Where both lie: `<path>.crt` and `<path>.key`.
    pub path: PathBuf,
}

/// What a certificate is to say.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The subject, in the notation of `openssl req -subj`: `/CN=bob.mcollective`.
    pub subject: &'a str,
    /// `subjectAltName`, in the notation of `openssl`: `DNS:bob.mcollective`. None when empty.
    pub names: &'a str,
    /// `extendedKeyUsage`: `clientAuth`, `serverAuth`.
    pub purpose: &'a str,
    /// When it ends, as `openssl ca -enddate` takes it: `20260101000000Z`. In thirty days when empty.
    pub end: &'a str,
}

impl Authority {
    /// A new one, whose files lie in this directory.
    ///
    /// # Errors
    /// When there is no `openssl`, or it fails.
    pub fn new(dir: &Path, name: &str) -> Result<Self> {
        let authority = Self {
            dir: dir.join(name),
            issued: AtomicU32::new(0),
        };
        std::fs::create_dir_all(&authority.dir)?;
        let config = CONFIG.replace("@DIR@", &authority.dir.display().to_string());
        std::fs::write(authority.file("ca.conf"), config)?;
        std::fs::write(authority.file("index.txt"), "")?;
        std::fs::write(authority.file("serial"), "01\n")?;
        std::fs::write(authority.file("crlnumber"), "01\n")?;
        let subject = format!("/CN={name}");
        authority.openssl(&[
            "req",
            "-x509",
            "-config",
            "ca.conf",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            "ca.key",
            "-out",
            "ca.crt",
            "-days",
            "30",
            "-subj",
            &subject,
            "-addext",
            "basicConstraints=critical,CA:true",
            "-addext",
            "keyUsage=critical,keyCertSign,cRLSign",
        ])?;
        Ok(authority)
    }

    /// Its own certificate.
    pub fn path(&self) -> PathBuf {
        self.file("ca.crt")
    }

    /// A certificate for a client of this name, as Puppet makes it: the common name, and the same as a DNS name.
    ///
    /// # Errors
    /// When `openssl` fails.
    pub fn client(&self, certname: &str) -> Result<Issued> {
        self.named(certname, "clientAuth")
    }

    /// A certificate for a service on this machine.
    ///
    /// # Errors
    /// When `openssl` fails.
    pub fn service(&self) -> Result<Issued> {
        self.named("localhost", "serverAuth")
    }

    fn named(&self, name: &str, purpose: &str) -> Result<Issued> {
        self.issue(&Wanted {
            subject: &format!("/CN={name}"),
            names: &format!("DNS:{name}"),
            purpose,
            end: "",
        })
    }

    /// A certificate as wished.
    ///
    /// # Errors
    /// When `openssl` fails.
    pub fn issue(&self, wanted: &Wanted<'_>) -> Result<Issued> {
        let stem = format!("issued-{}", self.issued.fetch_add(1, Ordering::Relaxed));
        let [key, request, extensions, certificate] =
            ["key", "csr", "ext", "crt"].map(|end| format!("{stem}.{end}"));
        let mut text = format!("extendedKeyUsage={}\n", wanted.purpose);
        if !wanted.names.is_empty() {
            let _infallible = writeln!(text, "subjectAltName={}", wanted.names);
        }
        std::fs::write(self.file(&extensions), text)?;
        self.openssl(&[
            "req",
            "-new",
            "-config",
            "ca.conf",
            "-utf8",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            &key,
            "-out",
            &request,
            "-subj",
            wanted.subject,
        ])?;
        let mut sign = vec![
            "ca",
            "-batch",
            "-notext",
            "-config",
            "ca.conf",
            "-in",
            &request,
            "-out",
            &certificate,
            "-extfile",
            &extensions,
        ];
        if !wanted.end.is_empty() {
            sign.extend(["-startdate", "20200101000000Z", "-enddate", wanted.end]);
        }
        self.openssl(&sign)?;
        Ok(Issued {
            certificate: std::fs::read_to_string(self.file(&certificate))?,
            key: std::fs::read_to_string(self.file(&key))?,
            path: self.file(&stem),
        })
    }

    /// Revokes it: from the next [`Self::list`] on.
    ///
    /// # Errors
    /// When `openssl` fails.
    pub fn revoke(&self, issued: &Issued) -> Result<()> {
        let certificate = issued.path.with_extension("crt").display().to_string();
        self.openssl(&["ca", "-config", "ca.conf", "-revoke", &certificate])
    }

    /// The list of those that are revoked now, in PEM, good for thirty days or until `end`.
    ///
    /// # Errors
    /// When `openssl` fails.
    pub fn list(&self, end: Option<&str>) -> Result<String> {
        let mut list = vec!["ca", "-config", "ca.conf", "-gencrl", "-out", "list.crl"];
        if let Some(end) = end {
            list.extend(["-crl_lastupdate", "20200101000000Z", "-crl_nextupdate", end]);
        }
        self.openssl(&list)?;
        std::fs::read_to_string(self.file("list.crl"))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn openssl(&self, args: &[&str]) -> Result<()> {
        let output = Command::new("openssl")
            .args(args)
            .current_dir(&self.dir)
            .output()
            .map_err(|error| Error::new(error.kind(), format!("openssl: {error}")))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(Error::other(format!("openssl {args:?}: {said}")))
    }
}
