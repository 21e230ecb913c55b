//! Two regions and a centre: what is answered in a region is on record at the centre in the end, whatever is away in between.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use aaa_testing::regions::Regions;
use serde_json::{Value, json};

use super::support::{Home, Run, Services, request_id, run};

const REGIONS: [&str; 2] = ["london", "malta"];

/// Servers, and a home that their files are in.
struct Site {
    home: Home,
    servers: Regions,
}

impl Site {
    fn start() -> Option<Self> {
        let home = Home::new();
        let servers = Regions::start(&home.path("nats"), &REGIONS).unwrap()?;
        Some(Self { home, servers })
    }

    /// `aaa audit …` as a user of the centre.
    fn command(&self, user: &str, arguments: &[&str]) -> Command {
        let mut command = self.home.command(&["audit"]);
        command.args(arguments);
        command.args(["--server", &self.servers.centre.url(), "--user", user]);
        command
            .arg("--password-file")
            .arg(self.servers.password_file(user));
        command.arg("--tls-ca").arg(self.servers.authority());
        command
    }

    fn audit(&self, user: &str, arguments: &[&str]) -> Run {
        run(&mut self.command(user, arguments), &[])
    }

    fn set_up(&self, more: &[&str]) -> Run {
        let mut arguments = vec!["setup", "--central", "centre"];
        arguments.extend(["--region", "london", "--region", "malta"]);
        arguments.extend(more);
        self.audit("operator", &arguments)
    }

    /// The same, once the leafnodes have connected; waiting for that is asking for it.
    fn connected(&self, more: &[&str]) -> Run {
        loop {
            let run = self.set_up(more);
            if run.code != 1 {
                return run.ends(0);
            }
        }
    }

    /// Services of a region, whose records go to its stream.
    fn region(&self, number: usize) -> Services {
        let name = REGIONS[number];
        let config = format!("{name}/config.json");
        if !self.home.path(&config).exists() {
            drop(Services::start_in(&self.home, name));
            let mut settings: Value = serde_json::from_str(&self.home.read(&config)).unwrap();
            settings["site"] = json!(name);
            settings["auditors"] = json!(["jetstream"]);
            settings["jetstream_auditor"] = json!({
                "servers": self.servers.regions[number].url(), "topic": format!("audit.{name}"),
                "stream": {"name": "AUDIT", "create": false}, "format": "v2", "ack_timeout": "200ms",
                "user": "service", "password_file": self.servers.password_file("service"),
                "tls_ca": self.servers.authority(), "spool_dir": self.home.path(&format!("{name}/spool")),
            });
            self.home.write(&config, &settings.to_string());
        }
        Services::start_in(&self.home, name)
    }

    /// Logs in and has something signed: the id of the request.
    fn sign(&self, region: usize) -> String {
        let name = REGIONS[region];
        let (config, password) = (
            format!("{name}/client.conf"),
            format!("{name}/alice.password"),
        );
        let login = [
            "login",
            "--config",
            &config,
            "--username",
            "alice",
            "--password-file",
            &password,
        ];
        self.home.aaa(&login).ends(0);
        request_id(&self.home.sign(&config, "status").ends(0).json())
    }

    /// How often each request is on record at the centre, once all of these are.
    fn on_record(&self, wanted: &[String]) -> BTreeMap<String, usize> {
        let follow = [
            "tail", "--stream", "AUDIT", "--kind", "sign", "--follow", "-n", "1000",
        ];
        let mut tail = self.command("reader", &follow);
        let mut tail = tail.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
        let mut times = BTreeMap::new();
        while !wanted.iter().all(|id| times.contains_key(id)) {
            let record: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
            let id = record["request"]["id"].as_str().unwrap().to_owned();
            *times.entry(id).or_default() += 1;
        }
        tail.kill().unwrap();
        tail.wait().unwrap();
        times
    }
}

#[test]
fn setting_up_says_what_it_would_do_does_it_and_is_done() {
    let Some(site) = Site::start() else { return };
    let plan = site.connected(&["--dry-run"]);
    assert_eq!(
        plan.stdout,
        "london            AUDIT  would be made: takes the subject audit.london\n\
         malta             AUDIT  would be made: takes the subject audit.malta\n\
         centre            AUDIT  would be made: takes the subject audit.centre, takes from london, takes from malta\n"
    );
    let made = site.set_up(&[]).ends(0);
    assert_eq!(made.stdout, plan.stdout.replace("would be made", "made"));
    let right = "london            AUDIT  is right\n\
                 malta             AUDIT  is right\n\
                 centre            AUDIT  is right\n";
    assert_eq!(site.set_up(&[]).ends(0).stdout, right);
    // A region that is away keeps nobody from the rest.
    let away = site.set_up(&["--region", "atlantis"]).ends(1);
    assert_eq!(away.stdout, right);
    away.says("aaa: atlantis: no JetStream domain atlantis answers");
}

#[test]
fn what_is_wrong_on_the_command_line_is_said() {
    let home = Home::new();
    let setup = |more: &[&str]| {
        let mut arguments = vec!["audit", "setup"];
        arguments.extend(more);
        home.aaa(&arguments).ends(64).without_data()
    };
    setup(&["--server", "nats://127.0.0.1:1"]).says("--region");
    setup(&["--region", "london"]).says("--server");
    setup(&["--server", "nats://127.0.0.1:1", "--region", "a.b"]).says("letters, digits, - and _");
    let twice = [
        "--server",
        "nats://127.0.0.1:1",
        "--region",
        "a",
        "--central",
        "a",
    ];
    setup(&twice).says("a is named twice");
}

#[test]
fn every_answer_of_a_region_is_on_record_at_the_centre() {
    let Some(mut site) = Site::start() else {
        return;
    };
    site.connected(&[]);
    let (london, malta) = (site.region(0), site.region(1));
    let mut signed = vec![site.sign(0), site.sign(1)];
    site.servers.centre.kill().unwrap();
    signed.extend([site.sign(0), site.sign(1)]);
    // One region loses its server as well, and then the service, with records in the spool.
    site.servers.regions[0].kill().unwrap();
    signed.extend([site.sign(0), site.sign(0), site.sign(1)]);
    drop((london, malta));
    site.servers.regions[0].restart().unwrap();
    site.servers.centre.restart().unwrap();
    let _again = (site.region(0), site.region(1));
    signed.push(site.sign(0));
    let times = site.on_record(&signed);
    for id in &signed {
        assert_eq!(times.get(id), Some(&1), "{id}");
    }
    let sites = [
        "query", "--stream", "AUDIT", "--by", "site", "--kind", "sign",
    ];
    let sites = site.audit("reader", &sites).ends(0).json();
    assert_eq!(
        sites,
        json!([{"site": "london", "count": 5}, {"site": "malta", "count": 3}])
    );
    let lag = site
        .audit("reader", &["lag", "--stream", "AUDIT"])
        .ends(0)
        .json();
    assert_eq!(lag["sources"][0]["waiting"], 0);
}
