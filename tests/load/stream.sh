#!/usr/bin/env bash
# Measures what records in a stream cost, for "Records in a stream" of docs/benchmarks.md: signing without an auditor, straight to the
# stream, into the spool, and while a spool is delivered. Four minutes, a build not counted.
#
#   tests/load/stream.sh             needs nats-server: AAA_NATS_SERVER, or in the path (make test-tools)
#   RECORDS=100000 tests/load/stream.sh   a smaller spool: to see that it works, not to be quoted
set -euo pipefail

cd "$(dirname "$0")/../.."
CARGO=${CARGO:-cargo}
records=${RECORDS:-1000000}
nats=${AAA_NATS_SERVER:-$(command -v nats-server)}
if [[ -z ${BIN:-} ]]; then
    $CARGO build --release --quiet -p aaa -p aaa-load
    BIN=$($CARGO metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release
fi

work=$(mktemp -d)
service='' broker=''
finish() {
    kill $service $broker 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT

"$BIN/aaa-load" site --dir "$work/site" --users 8 >/dev/null
# shellcheck source=/dev/null
. "$work/site/v2/env"
port=${BROKER##*:}
printf 'listen: "127.0.0.1:%s"\njetstream { store_dir: "%s/nats" }\n' "$port" "$work" >"$work/nats.conf"

# configure NAME AUDITORS: the site's configuration with other auditors.
configure() {
    local stream="\"jetstream_auditor\": {\"servers\": \"nats://127.0.0.1:$port\", \"topic\": \"audit.bench\", \"stream\": {\"name\": \"AUDIT\"},
        \"spool_dir\": \"$work/spool\", \"spool_max_bytes\": 8589934592},"
    tr -d '\n' <"$CONFIG" | sed -e "s|\"auditors\": *\[[^]]*\]|\"auditors\": [$2]|" \
        -e "s|\"logfile_auditor\"|$(tr -d '\n' <<<"$stream")&|" >"$work/$1.json"
}
configure stream '"jetstream"'
configure none ''
chmod 600 "$work"/*.json

start_broker() {
    "$nats" --config "$work/nats.conf" --log "$work/nats.log" &
    broker=$!
    until grep -qs 'Server is ready' "$work/nats.log"; do sleep 0.1; done
}

stop_broker() {
    kill "$broker"
    wait "$broker" || true
    rm -f "$work/nats.log"
    broker=''
}

start() {
    "$BIN/aaa" serve --config "$work/$1.json" --listen "$ADDRESS" --admin-listen "$ADMIN" >/dev/null 2>"$work/service.log" &
    service=$!
    local tries=0
    until curl -fs "http://$ADMIN/healthz/ready" >/dev/null; do
        ((++tries < 200)) || { cat "$work/service.log" >&2; exit 1; }
        sleep 0.1
    done
}

stop() {
    kill "$service"
    wait "$service" || true
    service=''
}

# metric NAME: its value.
metric() {
    curl -fs "http://$ADMIN/metrics" | sed -n "s/^$1{.*} //p"
}

# sign LABEL ARGUMENTS...: 16 clients, and what came of it.
sign() {
    local label=$1
    shift
    "$BIN/aaa-load" sign --label "$label" --pid "$service" --url "https://$ADDRESS" --ca "$CA" --version "$VERSION" \
        --token-file "$TOKEN" --seed-file "$SEED" --trust "$TRUST" --connections 16 "$@" --json |
        sed -n 's/.*"label":"\([^"]*\)".*"rate":\([0-9]*\).*"p99":\([0-9.]*\).*/\1: \2\/s, p99 \3 ms/p'
}

# spooled: how many records wait.
spooled() { metric choria_aaa_audit_spool_records; }

# delivering: waits until the first of those that wait have gone: a client of NATS connects again after some seconds.
delivering() {
    waiting=$(spooled)
    until (($(spooled) < waiting)); do sleep 0.05; done
    waiting=$(spooled)
    begun=$EPOCHREALTIME
}

# delivered: how fast they all have gone since.
delivered() {
    until [[ $(spooled) == 0 ]]; do sleep 0.05; done
    awk -v a="$begun" -v b="$EPOCHREALTIME" -v n="$waiting" 'BEGIN { printf "delivered alone: %d in %.1f s, %d/s\n", n, b - a, n / (b - a) }'
}

# fill RECORDS: has so many wait, with the server away.
fill() {
    sign "filling the spool" --count "$1"
}

for round in 1 2; do
    echo "round $round"
    start none
    sign "none" --duration 8s
    stop
    start_broker
    start stream
    sign "straight to the stream" --duration 8s
    stop_broker
    sign "spool alone" --duration 8s
    fill "$((records / 2))"
    start_broker
    delivering
    before=$(metric choria_aaa_audit_stream_delivered)
    sign "while the spool is delivered" --duration 4s
    after=$(metric choria_aaa_audit_stream_delivered)
    echo "  delivered meanwhile: $(((after - before) / 4))/s, $(spooled) wait"
    while (($(spooled) > 0)); do sleep 0.05; done
    stop_broker
    stop
    rm -rf "$work/nats" "$work/spool"
done
start_broker
start stream
stop_broker
fill "$records"
start_broker
delivering
delivered
