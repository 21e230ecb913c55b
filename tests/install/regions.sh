#!/usr/bin/env bash
# The example of a centre and two regions, as its reader starts it, on ports that are free: what both regions decided is on record at the
# centre in the end, also what they decided while it was away.
#
#   tests/install/regions.sh TOOLS     the directory with nats-server (tests/tools.sh); needs AAA_BIN, the aaa to try, python3 and openssl
set -euo pipefail

tools=$(cd "$1" && pwd)
cd "$(dirname "$0")/../.."
for program in python3 openssl; do
    if ! command -v "$program" >/dev/null; then
        echo "not run: the example of regions needs $program"
        [[ -z ${CI:-} ]] || exit 1
        exit 0
    fi
done
if ! [[ -x ${AAA_NATS_SERVER:=$tools/nats-server} ]]; then
    echo "not run: the example of regions needs nats-server (make test-tools)"
    [[ -z ${CI:-} ]] || exit 1
    exit 0
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
PORTS=$(python3 -c '
import socket
sockets = [socket.create_server(("localhost", 0)) for _ in range(6)]
print(*(s.getsockname()[1] for s in sockets))
')
export PORTS
if ! AAA=$AAA_BIN NATS_SERVER=$AAA_NATS_SERVER timeout 300 deploy/nats/try.sh "$work/regions" >"$work/said" 2>&1; then
    cat "$work/said" >&2
    exit 1
fi
python3 - "$work/said" <<'END'
import json, re, sys

said = open(sys.argv[1]).read()
for line in ["london: puppet.status signed", "malta: puppet.disable refused", "london: puppet.enable signed", "malta: puppet.status signed"]:
    assert line in said, f"{line!r} is not in\n{said}"
counted = json.JSONDecoder().raw_decode(said[said.index("== it comes back"):].split("\n", 1)[1].lstrip())[0]
counts = {(row["site"], row["decision"]): row["count"] for row in counted}
# Each region has let alice in, too.
assert counts == {("london", "allow"): 3, ("malta", "allow"): 2, ("malta", "deny"): 1}, counts
END
echo "the example of regions: ok"
