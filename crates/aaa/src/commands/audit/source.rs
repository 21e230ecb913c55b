//! Where records are read from: files, or a stream.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aaa_audit::reading::{LONGEST_LINE, Line, StreamReader};
use aaa_service::audit::Kept;
use aaa_service::config::Document;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::failure::{Exit, Failure};
use crate::files;
use crate::screen;

/// How often a file that is followed is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// Where records are
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Where records are")]
pub(super) struct SourceArgs {
    /// Files with one record a line, or - for standard input
    #[arg(value_name = "FILE", conflicts_with_all = ["config", "server"])]
    files: Vec<PathBuf>,
    /// The configuration of a service: its stream, or its file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// NATS servers, nats://host:port with commas between them
    #[arg(
        long,
        value_name = "URL",
        requires = "stream",
        conflicts_with = "config"
    )]
    server: Option<String>,
    /// The stream there
    #[arg(long, value_name = "NAME")]
    stream: Option<String>,
    /// A credentials file, as nsc writes it
    #[arg(long, value_name = "FILE", requires = "server")]
    credentials: Option<PathBuf>,
    /// The user to be
    #[arg(long, requires_all = ["server", "password_file"])]
    user: Option<String>,
    /// The file with that user's password
    #[arg(long, value_name = "FILE", requires = "user")]
    password_file: Option<PathBuf>,
    /// Certificates in PEM that the server's must be issued by
    #[arg(long, value_name = "FILE", requires = "server")]
    tls_ca: Option<PathBuf>,
    /// The certificate to show to the server, in PEM
    #[arg(long, value_name = "FILE", requires_all = ["server", "tls_key"])]
    tls_certificate: Option<PathBuf>,
    /// Its private key, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
}

/// Records to read.
pub(super) enum Source {
    Files(Vec<PathBuf>),
    Stream(Box<StreamReader>),
}

impl SourceArgs {
    /// Opens what they name.
    pub(super) async fn open(&self) -> Result<Source, Failure> {
        if !self.files.is_empty() {
            return Ok(Source::Files(self.files.clone()));
        }
        let document = self.document()?;
        let kept = Kept::find(&document);
        if let Err(problems) = document.finish() {
            return Err(Failure::usage(problems.to_string()));
        }
        match kept {
            None => Err(Failure::usage(
                "the configuration keeps no records in a stream or a file",
            )),
            Some(Kept::File(path)) => Ok(Source::Files(vec![path])),
            Some(Kept::Stream {
                connection,
                name,
                topic,
            }) => {
                let name = self.stream.as_deref().or(name.as_deref());
                let reader = StreamReader::open(&connection, name, &topic).await;
                let reader = reader.map_err(Failure::failed)?;
                Ok(Source::Stream(Box::new(reader)))
            }
        }
    }

    fn document(&self) -> Result<Document, Failure> {
        let problems =
            |problems: aaa_service::config::Problems| Failure::usage(problems.to_string());
        if let Some(config) = &self.config {
            return Document::load(config).map_err(problems);
        }
        let Some(server) = &self.server else {
            return Err(Failure::usage(
                "where are the records? Give FILE, --config FILE, or --server URL with --stream NAME",
            ));
        };
        // The words of the configuration, so that there is one reading of them.
        let mut settings = Map::new();
        settings.insert("servers".to_owned(), json!(server));
        settings.insert("stream".to_owned(), json!({"name": self.stream}));
        if let Some(user) = &self.user {
            settings.insert("user".to_owned(), json!(user));
        }
        for (key, path) in [
            ("credentials", &self.credentials),
            ("password_file", &self.password_file),
            ("tls_ca", &self.tls_ca),
            ("tls_certificate", &self.tls_certificate),
            ("tls_key", &self.tls_key),
        ] {
            if let Some(path) = path {
                settings.insert(key.to_owned(), json!(path.display().to_string()));
            }
        }
        let document = json!({"jetstream_auditor": Value::Object(settings)});
        Document::parse("the command line", document.to_string().as_bytes()).map_err(problems)
    }
}

impl Source {
    /// Gives every line to `each`, from those that arrived at a time on where that is known, until it has enough.
    pub(super) async fn read(
        &self,
        since: Option<Timestamp>,
        follow: bool,
        each: &mut dyn FnMut(Line) -> ControlFlow<()>,
    ) -> Result<(), Failure> {
        match self {
            Self::Stream(reader) => reader
                .read(since, follow, each)
                .await
                .map_err(Failure::failed),
            Self::Files(files) => {
                for file in files {
                    let followed = follow && files.len() == 1 && file.as_os_str() != "-";
                    if read_file(file, followed, each).await?.is_break() {
                        break;
                    }
                }
                Ok(())
            }
        }
    }
}

async fn read_file(
    path: &Path,
    follow: bool,
    each: &mut dyn FnMut(Line) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, Failure> {
    let fail = |error: &io::Error| Failure::file("read", path, error).with(Exit::Usage);
    let open = || -> io::Result<Box<dyn BufRead>> {
        Ok(if path.as_os_str() == "-" {
            Box::new(BufReader::new(io::stdin()))
        } else {
            Box::new(BufReader::new(File::open(path)?))
        })
    };
    let name = if path.as_os_str() == "-" {
        "standard input".to_owned()
    } else {
        path.display().to_string()
    };
    let mut reader = open().map_err(|error| fail(&error))?;
    let mut inode = files::identity(path);
    let mut number = 0_u64;
    let mut bytes = Vec::new();
    loop {
        let room = LONGEST_LINE.saturating_sub(bytes.len()) as u64;
        let taken = reader.by_ref().take(room).read_until(b'\n', &mut bytes);
        taken.map_err(|error| fail(&error))?;
        let whole = bytes.ends_with(b"\n");
        if !whole && bytes.len() >= LONGEST_LINE {
            let text = format!(
                "{name}:{}: a line of more than {LONGEST_LINE} bytes",
                number + 1
            );
            return Err(Failure::failed(text));
        }
        if whole || (!follow && !bytes.is_empty()) {
            number += 1;
            let end = bytes.trim_ascii_end().len();
            bytes.truncate(end);
            let line = Line {
                bytes: std::mem::take(&mut bytes),
                place: format!("{name}:{number}"),
                id: None,
                arrived: None,
            };
            if !line.bytes.is_empty() && each(line).is_break() {
                return Ok(ControlFlow::Break(()));
            }
            continue;
        }
        if !follow {
            return Ok(ControlFlow::Continue(()));
        }
        // A file that was moved away is read to its end before the new one is opened.
        let now = files::identity(path);
        if now.is_some() && now != inode {
            inode = now;
            number = 0;
            reader = open().map_err(|error| fail(&error))?;
        } else {
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// Says where lines are that are no record.
pub(super) fn warn(line: &Line, error: &aaa_audit::reading::NoRecord) {
    screen::warn(&format!("{}: {error}", line.place));
}
