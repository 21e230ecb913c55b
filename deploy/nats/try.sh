#!/usr/bin/env bash
# A centre and two regions on this machine: requests are signed in both regions, the centre goes away and comes back, and everything is
# on record there. Needs aaa, nats-server and openssl ($AAA and $NATS_SERVER say where they are). What it makes is in the directory given.
set -euo pipefail

# Ports of this machine: of the three servers, of the leafnodes at the centre, of the services in both regions.
read -r centre_port london_port malta_port leafnodes_port london_service malta_service <<<"${PORTS:-24222 24223 24224 27422 28443 28444}"
here=$(cd "$(dirname "$0")" && pwd)
aaa=${AAA:-aaa} nats=${NATS_SERVER:-nats-server} dir=${1:-regions}
for program in "$aaa" "$nats" openssl; do
    command -v "$program" >/dev/null || { echo "missing: $program" >&2; exit 64; }
done
mkdir -p "$dir" && cd "$dir"
trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT

say() { printf '\n== %s\n' "$*"; }
until_says() { # file, text
    until grep -qs "$2" "$1"; do sleep 0.1; done
}
server() { # place, port, configuration
    : >"$1.log"
    NATS_PLACE=$1 NATS_NAME=$1 NATS_LISTEN=localhost:$2 NATS_STORE=$PWD/$1.store \
        "$nats" --config "$here/$3" --log "$PWD/$1.log" &
    until_says "$1.log" 'Server is ready'
}
audit() { # user, what
    local user=$1
    shift
    "$aaa" audit "$@" --server "tls://localhost:$centre_port" --user "$user" --password-file "$user.password" --tls-ca tls.crt
}
services() { # place, port of its NATS server, port for clients
    local made=$PWD/$1
    # Keys, certificate, a user and a policy, from a first start.
    "$aaa" serve --dev --dir "$1" --listen "localhost:$3" >"$1.said" 2>/dev/null &
    until_says "$1.said" 'Rules are in'
    kill $! && wait $! || :
    cat >"$1.json" <<END
{
  "site": "$1", "listen": "localhost:$3", "tls_certificate": "$made/tls.pem", "tls_key": "$made/tls.key",
  "authenticator": "userlist",
  "userlist_authenticator": {
    "signing_key": "$made/login.seed", "signing_token": "$made/login.jwt", "validity": "1h", "users_file": "$made/users.json"
  },
  "signer": "basicjwt",
  "basicjwt_signer": {
    "signing_certificate": "$made/issuer.public", "max_validity": "2h",
    "signing_token": "$made/signer.jwt", "signing_seed": "$made/signer.seed"
  },
  "authorizer": "opa",
  "auditors": ["jetstream"],
  "jetstream_auditor": {
    "servers": "tls://localhost:$2", "user": "service", "password_file": "$PWD/service.password", "tls_ca": "$PWD/tls.crt",
    "topic": "audit.$1", "stream": { "name": "AUDIT", "create": false }, "spool_dir": "$made/spool", "format": "v2"
  }
}
END
    "$aaa" serve --config "$1.json" >/dev/null 2>"$1.services.log" &
    until_says "$1.services.log" '"message":"started"'
    "$aaa" login --config "$1/client.conf" --username alice --password-file "$1/alice.password"
}
sign() { # place, action
    "$aaa" sign --config "$1/client.conf" --agent puppet --action "$2" >/dev/null && echo "$1: puppet.$2 signed" || echo "$1: puppet.$2 refused"
}

for user in service reader operator; do
    printf '%s-secret' "$user" >"$user.password"
done
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout tls.key -out tls.crt -days 30 \
    -subj /CN=localhost -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:false 2>/dev/null
export NATS_CERTIFICATE=$PWD/tls.crt NATS_KEY=$PWD/tls.key NATS_CA=$PWD/tls.crt
export NATS_SERVICE_PASSWORD=service-secret NATS_READER_PASSWORD=reader-secret NATS_OPERATOR_PASSWORD=operator-secret
export NATS_LEAFNODES=localhost:$leafnodes_port NATS_REGION_PASSWORD=secret NATS_CENTRE=tls://region:secret@localhost:$leafnodes_port

say "servers of NATS: centre, london, malta"
server centre "$centre_port" centre.conf
centre=$!
server london "$london_port" region.conf
server malta "$malta_port" region.conf

say "streams (aaa audit setup)"
until audit operator setup --central centre --region london --region malta --dry-run >/dev/null 2>&1; do sleep 0.2; done
audit operator setup --central centre --region london --region malta

say "services of both regions, and something for them to do"
services london "$london_port" "$london_service"
services malta "$malta_port" "$malta_service"
sign london status
sign malta disable

say "on record at the centre (aaa audit tail)"
audit reader tail --stream AUDIT

say "the centre goes away, the regions go on"
kill -9 "$centre" && wait "$centre" 2>/dev/null || :
sign london enable
sign malta status

say "it comes back, and takes what is missing; NATS begins with that within a minute"
server centre "$centre_port" centre.conf
records() { audit reader query --stream AUDIT --kind sign | grep -o '"count": [0-9]*' | tr -dc 0-9; }
until [ "$(records)" = 4 ]; do sleep 1; done
audit reader query --stream AUDIT --by site,decision
audit reader lag --stream AUDIT
