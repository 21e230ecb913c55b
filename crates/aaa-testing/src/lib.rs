//! Real servers for tests, started on ports that the kernel gives, in directories of the test's own. Only ever a dev-dependency.

pub mod archive;
pub mod nats;
pub mod okta;
pub mod pki;
pub mod proxy;
pub mod regions;
pub mod tls;
