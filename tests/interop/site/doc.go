// Package site starts a whole Choria site on loopback: the real broker, a real
// node and real clients in this process, and a login and signing service as a
// child process beside them.
//
// A site runs in one of two modes. In V1 every party holds a certificate of one
// authority and requests are signed with RSA by a privileged certificate; in V2
// every party holds a token that leads back to one organization issuer and
// requests are signed with Ed25519 by the holder of a delegator token. All keys,
// certificates and tokens are made when the site starts and live in its directory.
package site
