use super::*;

/// Made by Go's `golang.org/x/crypto/bcrypt`, which existing services use.
const GO: &[(&str, &str)] = &[
    (
        "secret",
        "$2a$04$03iVfTlChFMEjPVW6kiQu.zQHzbsP5ZIduygrARtA6dEhLEa3jYgu",
    ),
    (
        "ünïcode-пароль",
        "$2a$04$gdUgKX.cUa3nulTrNfIpXOr2W0id/llsujWwlcy3rAX6EDPqHk.G2",
    ),
    (
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "$2a$04$me37Ue5Nenr8tnf0AcJm0.9uDkm1eHhX9iCuNuyhHhXRGJ.9eBetC",
    ),
    (
        "a\0b",
        "$2a$04$N.GTa5sRZvagYxrZkXqfv.fFzklMSGJqHQ3bnQ4.7DnvmdJBwc1am",
    ),
    (
        "a",
        "$2a$04$82vkX/bBLsXWcLyXRki8F.pOYz7yBnEQ3zK/IR0E2/BBbEdcrMzYq",
    ),
    (
        "",
        "$2a$04$9pOMJCgZjl2/nIU8Y..AzOpdYgem/HfFPNsiu.Yc0d823yk8/Dt4S",
    ),
    // The same with bits set in the salt's last character that mean nothing.
    (
        "secret",
        "$2a$04$RYLiDG7YX8D7UPjXPPGBuTEq/B42lCyCdIyUV7PS/4RB5IwzZrALe",
    ),
    // Those of the reference's documents and tests.
    (
        "test",
        "$2a$05$tVM7WO82I.bpdNY6oXxEW.mo388JedJKEdIUqRb06HQ0/wWExyZ1O",
    ),
    (
        "secret",
        "$2y$05$c4b/0WZ5WJ3nhSZPN9m8keCUPlCYtNOTkqU4fDNEPCUy1C9Pfqn2e",
    ),
    (
        "secret",
        "$2a$06$chB5d2pCKEzM6xlDoPvofuKW52piJ5f8fGvxHPTDaeSJOSNY76yai",
    ),
];

/// From the tests of the reference implementation of Argon2.
const ARGON2ID: &[(&str, &str)] = &[
    (
        "password",
        "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
    ),
    (
        "password",
        "$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc",
    ),
];

fn verify(hash: &str, password: &str) -> bool {
    PasswordHash::parse(hash)
        .unwrap()
        .verify(password.as_bytes())
        .unwrap()
}

fn problem(text: &str) -> String {
    PasswordHash::parse(text).err().unwrap().to_string()
}

#[test]
fn the_hashes_that_sites_have_are_understood() {
    for (password, hash) in GO.iter().chain(ARGON2ID) {
        assert!(verify(hash, password), "{hash}");
        assert!(!verify(hash, "wrong"), "{hash}");
        assert!(
            !verify(hash, &format!("{password}!")) || password.len() >= 72,
            "{hash}"
        );
    }
}

#[test]
fn all_three_prefixes_of_bcrypt_mean_the_same() {
    let (password, hash) = GO[1];
    for prefix in ["$2a$", "$2b$", "$2y$"] {
        assert!(verify(&hash.replace("$2a$", prefix), password), "{prefix}");
    }
}

#[test]
fn bcrypt_reads_long_passwords_and_nuls_as_go_does() {
    assert!(verify(GO[2].1, &"x".repeat(80)));
    assert!(!verify(GO[2].1, &"x".repeat(71)));
    assert!(verify(GO[4].1, "a\0a"));
    assert!(!verify(GO[4].1, "a\0b"));
    assert!(verify(GO[2].1, &"x".repeat(1024)));
}

#[test]
fn an_empty_password_fits_no_other_hash() {
    assert!(!verify(GO[0].1, ""));
    assert!(!verify(ARGON2ID[0].1, ""));
}

#[test]
fn what_is_no_hash_is_told_without_quoting_it() {
    for text in ["hunter2", "", "$", "$2$05$x", "$2a", "$argon2", "2a$04$x"] {
        let problem = problem(text);
        assert!(
            problem.starts_with("is not a password hash"),
            "{text}: {problem}"
        );
        assert!(!problem.contains("hunter2"));
    }
}

#[test]
fn hashes_of_other_kinds_are_named() {
    for (text, kind) in [
        (
            "$2x$05$aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "$2x$",
        ),
        ("$argon2i$v=19$m=256,t=2,p=1$c29tZXNhbHQ$abc", "$argon2i$"),
        ("$6$salt$hash", "SHA-512"),
        ("$1$salt$hash", "MD5"),
        ("$apr1$salt$hash", "MD5"),
        ("{SSHA}abc", "{SSHA}"),
        ("$y$j9T$salt$hash", "yescrypt"),
    ] {
        let problem = problem(text);
        assert!(problem.starts_with("is a hash of the kind"), "{problem}");
        assert!(problem.contains(kind), "{problem}");
    }
}

#[test]
fn damaged_and_boundless_hashes_are_refused_when_they_are_read() {
    let (_, bcrypt) = GO[0];
    let (_, argon) = ARGON2ID[0];
    for text in [
        bcrypt[..59].to_owned(),
        format!("{bcrypt}x"),
        format!("{bcrypt}\n"),
        bcrypt.replace("$04$", "$4$"),
        bcrypt.replace("$04$", "$+4$"),
        bcrypt.replace("$04$", "$ab$"),
        bcrypt.replace("03iV", "03i="),
        bcrypt.replace("03iV", "é3i"),
        "$2a$04$".to_owned(),
        "$2b$12".to_owned(),
        argon[..40].to_owned(),
        argon.replace("v=19", "v=18"),
        argon.replace("m=256", "m=x"),
        argon.replace("m=256", "m=7"),
        argon.replace("c29tZXNhbHQ", "c29"),
        argon.replace("m=256", "m=99999999999999999999"),
        format!("{argon}$x"),
        "$argon2id$".to_owned(),
    ] {
        assert!(
            problem(&text).contains("damaged"),
            "{text}: {}",
            problem(&text)
        );
    }
    for (text, expected) in [
        (
            bcrypt.replace("$04$", "$03$"),
            "is a hash of bcrypt with cost 3; wants 4 to 18",
        ),
        (
            bcrypt.replace("$04$", "$31$"),
            "is a hash of bcrypt with cost 31; wants 4 to 18",
        ),
        (
            argon.replace("m=256", "m=4294967295"),
            "is a hash of Argon2id with m 4294967295; wants 8 to 262144",
        ),
        (
            argon.replace("t=2", "t=16385"),
            "is a hash of Argon2id with t 16385; wants 1 to 16384",
        ),
        (
            argon.replace("p=1", "p=65").replace("m=256", "m=1024"),
            "is a hash of Argon2id with p 65; wants 1 to 64",
        ),
    ] {
        assert_eq!(problem(&text), expected);
    }
}

#[test]
fn new_hashes_are_read_back() {
    let hash = bcrypt(b"secret").unwrap();
    assert!(hash.starts_with("$2b$12$") && hash.len() == 60, "{hash}");
    assert!(verify(&hash, "secret") && !verify(&hash, "Secret"));
    assert_ne!(bcrypt(b"secret").unwrap(), hash);
    let hash = argon2id(b"secret").unwrap();
    assert!(
        hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
        "{hash}"
    );
    assert!(verify(&hash, "secret") && !verify(&hash, "Secret"));
    assert!(verify(&argon2id(&[b'x'; 200]).unwrap(), &"x".repeat(200)));
}

#[test]
fn no_hash_is_made_that_lets_in_too_many() {
    assert_eq!(bcrypt(b""), Err(HashError::Empty));
    assert_eq!(argon2id(b""), Err(HashError::Empty));
    assert_eq!(bcrypt(&[b'x'; 73]), Err(HashError::TooLong));
    assert_eq!(bcrypt(b"a\0b"), Err(HashError::Nul));
    assert!(argon2id(b"a\0b").is_ok());
}

#[test]
fn decoys_cost_the_same_and_fit_nobody() {
    for (password, hash) in [GO[0], ARGON2ID[0], ARGON2ID[1]] {
        let kind = PasswordHash::parse(hash).unwrap().kind();
        let decoy = PasswordHash::decoy(kind).unwrap();
        assert_eq!(decoy.kind(), kind);
        assert_eq!(decoy.verify(password.as_bytes()), Ok(false));
    }
}

#[test]
fn cheap_hashes_are_weak() {
    let kind = |hash| PasswordHash::parse(hash).unwrap().kind();
    assert!(kind(GO[0].1).is_weak() && kind(ARGON2ID[0].1).is_weak());
    assert!(!Kind::DEFAULT.is_weak() && !Kind::Bcrypt { cost: 10 }.is_weak());
    let owasp = Kind::Argon2id {
        memory: 7 * 1024,
        passes: 5,
        lanes: 1,
    };
    assert!(!owasp.is_weak());
    assert_eq!(owasp.to_string(), "Argon2id m=7168,t=5,p=1");
}
