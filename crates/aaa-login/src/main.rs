//! `aaa-login`: the login service.

use std::process::ExitCode;

fn main() -> ExitCode {
    aaa_login::run()
}
