//! The signing service as a program.

use std::process::ExitCode;

use aaa_service::shell::{Program, run};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let program = Program {
        name: "aaa-signer",
        version: env!("CARGO_PKG_VERSION"),
        about: "Signs Choria requests for those who may make them",
    };
    run(&program, |document, shell| {
        document.top().require("signer");
        aaa_signer::build(document, shell)
    })
}
