#!/usr/bin/env bash
# Measures the services on this machine and prints the tables of docs/benchmarks.md on standard output; progress goes to
# standard error. About five minutes, a build not counted.
#
#   tests/load/bench.sh                              ours alone
#   AAASVC_BIN=/path/to/aaasvc tests/load/bench.sh   and the reference, in turns
#   QUICK=1 tests/load/bench.sh                      half a minute: to see that it works, not to be quoted
#   KEEP=DIR tests/load/bench.sh                     leaves the site, the logs and the raw results in a directory
#
# Everything runs on loopback, the generator beside the services: what it uses of the machine is told in the tables.
set -euo pipefail

cd "$(dirname "$0")/../.."
CARGO=${CARGO:-cargo}

if [[ -n ${QUICK:-} ]]; then
    rounds=1 seconds=2 reference_seconds=2 login_seconds=4 soak=60000 step=10000 starts=3 bare=0.3s users=10000
else
    rounds=3 seconds=8 reference_seconds=4 login_seconds=15 soak=1000000 step=100000 starts=15 bare=0.7s users=100000
fi

say() { printf '%s\n' "$*" >&2; }
die() {
    say "bench: $*"
    exit 1
}

if [[ -n ${KEEP:-} ]]; then
    mkdir -p "$KEEP"
    work=$(cd "$KEEP" && pwd)
else
    work=$(mktemp -d)
fi
running=()
finish() {
    for process in "${running[@]}"; do
        kill "$process" 2>/dev/null || true
    done
    [[ -n ${KEEP:-} ]] || rm -rf "$work"
}
trap finish EXIT

results=$work/results.jsonl
: >"$results"

# scenario NAME: sets where its things are.
scenario() {
    # shellcheck source=/dev/null
    . "$work/site/$1/env"
}

# measure ARGUMENTS...: runs the generator, keeps its result for the report, shows the essence, leaves it in $result.
measure() {
    result=$("$load" "$@" --json) || die "failed: $* $result"
    printf '%s\n' "$result" >>"$results"
    sed -n 's/.*"label":"\([^"]*\)".*"rate":\([0-9]*\).*"p99":\([0-9.]*\).*/  \1: \2\/s, p99 \3 ms/p' <<<"$result" >&2
}

# field NAME: a number of the result.
field() {
    sed -n "s/.*\"$1\":\([0-9]*\).*/\1/p" <<<"$result"
}

# launch LABEL REPEAT READY COMMAND...: starts a service and leaves it running as $pid.
launch() {
    local label=$1 repeat=$2 ready=$3
    shift 3
    result=$("$load" start --json --label "$label" --repeat "$repeat" --keep --ready "$ready" --log "$work/$label.log" -- "$@") || {
        tail -n 20 "$work/$label.log" >&2
        die "it does not start: $*"
    }
    printf '%s\n' "$result" >>"$results"
    pid=$(field pid)
    running+=("$pid")
}

# start SCENARIO LABEL REPEAT: ours.
start() {
    scenario "$1"
    launch "$2" "$3" "http://$ADMIN/healthz/ready" "$aaa" serve --config "$CONFIG" --listen "$ADDRESS" --admin-listen "$ADMIN"
}

# start_reference SCENARIO: the reference, whose ports come from its configuration.
start_reference() {
    scenario "$1"
    # It wants to know who it is, and asks the environment.
    export USER=${USER:-bench}
    launch "start-$1" 1 "tcp://$ADDRESS" "$AAASVC_BIN" run --config "$CONFIG"
}

# stop PID: asks a service to end, and insists after ten seconds.
stop() {
    local tries=0
    kill "$1"
    while [[ -e /proc/$1 && $(sed 's/.*) //; s/ .*//' "/proc/$1/stat" 2>/dev/null) != Z ]]; do
        ((++tries < 200)) || kill -KILL "$1"
        sleep 0.05
    done
}

# sign LABEL PID MORE...: has requests of the scenario at hand signed by this process.
sign() {
    local label=$1 process=$2
    shift 2
    measure sign --label "$label" --pid "$process" --url "https://$ADDRESS" --ca "$CA" --version "$VERSION" \
        --token-file "$TOKEN" --seed-file "$SEED" --trust "$TRUST" "$@"
    # The records of a run are a hundred megabytes; nobody reads them here.
    : >"$AUDIT"
    [[ $process != "$ours" ]] || signed=$((signed + $(field count)))
}

# over_network LABEL PID SECONDS: the same, over the Choria network.
over_network() {
    measure sign --label "$1" --pid "$2" --duration "$3s" --front network --url "tls://$BROKER" --broker-token "$BROKER_TOKEN" \
        --ca "$CA" --version "$VERSION" --token-file "$TOKEN" --seed-file "$SEED" --trust "$TRUST" --connections 4 --in-flight 16
    : >"$AUDIT"
}

# ours_and_reference VERSION: both in turns.
ours_and_reference() {
    scenario "$1"
    sign "$1-rest" "$ours" --duration "${seconds}s"
    if [[ -n ${AAASVC_BIN:-} ]]; then
        scenario "$1-reference"
        sign "$1-rest-reference" "$theirs" --duration "${reference_seconds}s"
        scenario "$1"
    fi
}

memory() {
    measure memory --label v2 --pid "$ours" --signatures "$signed"
    say "  memory after $signed signatures: $(field resident_kib) KiB"
}

say "building"
$CARGO build --release --quiet -p aaa -p aaa-load
target=$($CARGO metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
aaa=$target/release/aaa
load=$target/release/aaa-load
SECONDS=0

say "a site"
"$load" site --dir "$work/site" --users "$users" >/dev/null

say "the cryptography alone"
measure bare --duration "$bare"

say "starting, with $users users and with few"
start users start-users "$((starts / 3))"
measure memory --label "$users users" --pid "$pid" --signatures 0
stop "$pid"
start v2 start "$starts"
ours=$pid signed=0
measure memory --label v2 --pid "$ours" --signatures 0

say "v2"
[[ -z ${AAASVC_BIN:-} ]] || { start_reference v2-reference && theirs=$pid; }
for ((round = 0; round < rounds; round++)); do
    ours_and_reference v2
    sign v2-stream "$ours" --front stream --connections 4 --in-flight 16 --duration "${seconds}s"
    memory
done
sign v2-grpc "$ours" --front grpc --connections 4 --in-flight 4 --duration "${reference_seconds}s"
sign v2-filter "$ours" --action disable --duration "${reference_seconds}s"
[[ -z ${AAASVC_BIN:-} ]] || stop "$theirs"

say "logins"
measure bare --duration "$bare"
login=(--pid "$ours" --url "https://$ADDRESS" --ca "$CA" --duration "${login_seconds}s")
measure login --label login --connections 8 "${login[@]}"
measure mixed --label mixed "${login[@]}" --version "$VERSION" --token-file "$TOKEN" --seed-file "$SEED" --trust "$TRUST"
signed=$((signed + $(field count | head -n 1)))
: >"$AUDIT"

say "signing until $soak"
memory
while ((signed < soak)); do
    sign soak "$ours" --count "$step"
    memory
done
stop "$ours"

nats=${AAA_NATS_SERVER:-$(command -v nats-server || true)}
if [[ -z $nats ]]; then
    say "the Choria network: not run, needs nats-server (make test-tools)"
else
    say "the Choria network"
    "$nats" --config "$work/site/nats.conf" --log "$work/nats.log" &
    running+=($!)
    broker=$!
    until grep -qs 'Server is ready' "$work/nats.log"; do sleep 0.1; done
    start network start-network 1
    ours=$pid
    for ((round = 0; round < rounds; round++)); do
        sign network-rest "$ours" --connections 64 --duration "${seconds}s"
        over_network network "$ours" "$seconds"
    done
    stop "$ours"
    # A call goes to any signer of the queue group, so each has the broker to itself.
    if [[ -n ${AAASVC_BIN:-} ]]; then
        start_reference network-reference
        theirs=$pid
        for ((round = 0; round < rounds; round++)); do
            over_network network-reference "$theirs" "$reference_seconds"
        done
        stop "$theirs"
    fi
    kill "$broker"
fi

say "v1"
measure bare --duration "$bare"
start v1 start-v1 1
ours=$pid
[[ -z ${AAASVC_BIN:-} ]] || { start_reference v1-reference && theirs=$pid; }
for ((round = 0; round < rounds; round++)); do
    ours_and_reference v1
done
[[ -z ${AAASVC_BIN:-} ]] || stop "$theirs"
stop "$ours"

cat <<END
Measured $(date -u '+%Y-%m-%d %H:%M UTC') by \`make bench\` in ${SECONDS} s: $(nproc) cores of
$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo | head -n 1), $(awk '/^MemTotal/ { printf "%.0f GiB", $2 / 1048576 }' /proc/meminfo), Linux $(uname -r) ($(uname -m)), $(rustc --version | cut -d' ' -f1,2).
Records were written to $(df --output=fstype "$work" | tail -n 1). Generator and service share the cores; each connection asks again
when it has its answer.

END
"$load" report --results "$results" --users "$users"
