//! Compiles the gRPC contract in `proto/` with protox, so that no protoc is needed, and keeps its descriptors for reflection.

use std::error::Error;
use std::path::PathBuf;

use prost::Message as _;

const CONTRACT: [&str; 2] = ["choria/aaa/v1/login.proto", "choria/aaa/v1/signer.proto"];

/// Messages that hold passwords or tokens: they get no `Debug`, so that nothing prints them by accident.
const CONFIDENTIAL: [&str; 4] = [
    ".choria.aaa.v1.LoginRequest",
    ".choria.aaa.v1.LoginResponse",
    ".choria.aaa.v1.SignRequest",
    ".choria.aaa.v1.SignStreamRequest",
];

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    let output = PathBuf::from(std::env::var("OUT_DIR")?);
    println!("cargo::rerun-if-changed={}", root.display());

    let descriptors = protox::compile(CONTRACT, [&root])?;
    std::fs::write(
        output.join("choria.aaa.v1.bin"),
        descriptors.encode_to_vec(),
    )?;
    tonic_prost_build::configure()
        .skip_debug(CONFIDENTIAL)
        .compile_fds(descriptors)?;
    Ok(())
}
