use aaa_testing::pki::Authority;
use rustls::crypto::aws_lc_rs;
use tempfile::TempDir;

use super::*;
use crate::config::Document;

struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn authority(&self, name: &str) -> Authority {
        Authority::new(self.0.path(), name).unwrap()
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.path().join(name), text).unwrap();
    }

    /// What is wrong and what is warned of with these members, a line each, without the directory.
    fn found(&self, members: &str) -> Vec<String> {
        let dir = format!("{}/", self.0.path().display());
        let text = format!("{{{}}}", members.replace('@', &dir));
        let document = Document::parse("a.json", text.as_bytes()).unwrap();
        let mut found = Problems::new("a.json");
        if let Some(files) = ClientFiles::read(&document.top()) {
            let loaded = files.load(&Arc::new(aws_lc_rs::default_provider()), &mut found);
            assert_eq!(loaded.is_none(), !found.is_empty());
        }
        let all = document.problems();
        [&all, &found]
            .iter()
            .flat_map(|problems| problems.errors().iter().chain(problems.warnings()))
            .map(|problem| format!("{}: {}", problem.key, problem.text.replace(&dir, "")))
            .collect()
    }
}

#[test]
fn lists_of_all_issuers_are_taken() {
    let files = Files::new();
    let (one, two) = (files.authority("one"), files.authority("two"));
    let both = [&one, &two].map(|authority| std::fs::read_to_string(authority.path()).unwrap());
    files.write("ca.crt", &both.concat());
    files.write("one.crl", &one.list(None).unwrap());
    files.write("two.crl", &two.list(None).unwrap());
    let config = "\"tls_ca\": \"@ca.crt\", \"tls_crl\": [\"@one.crl\", \"@two.crl\"]";
    assert_eq!(files.found(config), [""; 0]);
    // Who forgets one is told whom that shuts out.
    assert_eq!(
        files.found("\"tls_ca\": \"@ca.crt\", \"tls_crl\": \"@one.crl\""),
        [
            "tls_crl: holds no list of \"CN=two\" in tls_ca; clients with certificates of it are refused"
        ]
    );
}

#[test]
fn a_list_in_the_name_of_an_authority_has_its_signature() {
    let files = Files::new();
    let other = tempfile::tempdir().unwrap();
    let (one, another) = (
        files.authority("one"),
        Authority::new(other.path(), "one").unwrap(),
    );
    std::fs::copy(one.path(), files.0.path().join("ca.crt")).unwrap();
    files.write("own.crl", &one.list(None).unwrap());
    files.write("forged.crl", &another.list(None).unwrap());
    let found = |list: &str| {
        files.found(&format!(
            "\"tls_ca\": \"@ca.crt\", \"tls_crl\": \"@{list}\""
        ))
    };
    assert_eq!(found("own.crl"), [""; 0]);
    assert_eq!(
        found("forged.crl"),
        [
            "tls_crl: the list of \"CN=one\" is not signed by its key in tls_ca; wants lists of revoked certificates (CRL) in PEM by those who issued the certificates"
        ]
    );
}

#[test]
fn what_is_no_list_is_named() {
    let files = Files::new();
    let authority = files.authority("one");
    std::fs::copy(authority.path(), files.0.path().join("ca.crt")).unwrap();
    let list = authority.list(None).unwrap();
    files.write("half.crl", &list[..list.len() / 2]);
    files.write(
        "bad.crl",
        "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n",
    );
    for (name, problem) in [
        ("ca.crt", "holds no list"),
        ("half.crl", "ends before its END line"),
        ("bad.crl", "list 1 of it is malformed"),
        ("none.crl", "no such file"),
    ] {
        let config = format!("\"tls_ca\": \"@ca.crt\", \"tls_crl\": \"@{name}\"");
        assert_eq!(
            files.found(&config),
            [format!(
                "tls_crl: {name}: {problem}; wants lists of revoked certificates (CRL) in PEM"
            )]
        );
    }
}

#[test]
fn what_speaks_of_clients_needs_their_authorities() {
    let files = Files::new();
    assert_eq!(
        files.found("\"tls_crl\": \"@a.crl\", \"tls_client_certificate\": \"optional\""),
        [
            "tls_crl: needs tls_ca: nobody's certificate is asked for",
            "tls_client_certificate: needs tls_ca: nobody's certificate is asked for"
        ]
    );
    assert_eq!(
        files.found("\"tls_client_certificate\": \"required\""),
        [""; 0]
    );
}
