//! Both ends of a TLS connection, without a network between them.

use std::io::{Error, Result};

use rustls::{ClientConnection, ServerConnection};

/// Lets the client speak, and then the server. Twice is a handshake.
///
/// # Errors
/// When one does not take what the other says.
pub fn exchange(client: &mut ClientConnection, server: &mut ServerConnection) -> Result<()> {
    let mut wire = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut wire)?;
    }
    server.read_tls(&mut wire.as_slice())?;
    server.process_new_packets().map_err(Error::other)?;
    wire.clear();
    while server.wants_write() {
        server.write_tls(&mut wire)?;
    }
    client.read_tls(&mut wire.as_slice())?;
    client.process_new_packets().map_err(Error::other)?;
    Ok(())
}
