//! The cryptography alone, on this machine: what a service can at best approach.

use std::num::NonZero;
use std::thread;
use std::time::{Duration, Instant};

use aaa_core::key::{Ed25519Key, SigningKey};
use rcgen::{KeyPair, PKCS_RSA_SHA256, RsaKeySize};

use crate::cli::BareOptions;
use crate::failure::Failure;
use crate::outcome::{self, Bare, Operation, Outcome};
use crate::site::BCRYPT_COST;
use crate::stats::float;

/// Checking that a request is its caller's, and that a token is its issuer's.
pub(crate) const ED25519_VERIFY: &str = "ed25519 verify";
/// Signing a v1 request.
pub(crate) const RSA_SIGN: &str = "rsa-2048 sign";
/// Checking a password.
pub(crate) const BCRYPT: &str = "bcrypt";

/// `aaa-load bare`.
pub(crate) fn run(options: &BareOptions) -> Result<(), Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::while_doing("a key", error);
    let message = [b'm'; 500];
    let ed25519 = Ed25519Key::generate().map_err(|error| failed(&error))?;
    let public = ed25519.public();
    let signature = ed25519.sign(&message);
    let pem = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)
        .map_err(|error| failed(&error))?
        .serialize_pem();
    let SigningKey::Rsa(rsa) = SigningKey::parse(pem.as_bytes()).map_err(|error| failed(&error))?
    else {
        return Err(Failure::new("the key that was made is no RSA key"));
    };

    let during = options.duration;
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let operations = vec![
        measure("ed25519 sign", during, cores, || {
            std::hint::black_box(ed25519.sign(&message));
        }),
        measure(ED25519_VERIFY, during, cores, || {
            std::hint::black_box(public.verify(&message, &signature));
        }),
        measure(RSA_SIGN, during, cores, || {
            std::hint::black_box(rsa.sign(&message).is_ok());
        }),
        measure(BCRYPT, during, cores, || {
            let password: &[u8] = b"a password\0";
            std::hint::black_box(bcrypt::bcrypt(BCRYPT_COST, [7; 16], password));
        }),
    ];
    let bare = Bare {
        label: options.output.label.clone(),
        cores,
        operations,
    };
    outcome::print(&Outcome::Bare(bare), options.output.json)
}

/// One operation, first on one core and then on all of them.
fn measure(name: &str, during: Duration, cores: usize, operation: impl Fn() + Sync) -> Operation {
    let alone = per_second(during, &operation);
    let all = thread::scope(|scope| {
        let threads: Vec<_> = (0..cores)
            .map(|_| scope.spawn(|| per_second(during, &operation)))
            .collect();
        threads
            .into_iter()
            .filter_map(|thread| thread.join().ok())
            .sum()
    });
    Operation {
        name: name.to_owned(),
        one_ms: 1000.0 / alone,
        all_per_second: all,
    }
}

fn per_second(during: Duration, operation: &impl Fn()) -> f64 {
    let started = Instant::now();
    let mut times = 0;
    loop {
        operation();
        times += 1;
        let elapsed = started.elapsed();
        if elapsed >= during {
            return float(times) / elapsed.as_secs_f64();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_run_is_counted() {
        let runs = std::sync::atomic::AtomicU64::new(0);
        let operation = measure("nothing", Duration::ZERO, 3, || {
            runs.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        });
        assert_eq!(runs.into_inner(), 4);
        assert!(operation.one_ms > 0.0 && operation.all_per_second > 0.0);
    }
}
