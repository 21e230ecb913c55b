//! The command line of Choria's authentication, authorization and auditing: see `aaa --help`.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    aaa::run(std::env::args_os())
}
