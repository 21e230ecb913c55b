#!/usr/bin/env bash
# Checks alert rules and dashboards, plays the situations that alerts are for, and asks what the dashboard asks of a site that runs. Takes a
# directory for tools, where a NATS server is or is built. AAA_BIN names the program; `--show` prints what each panel shows.
set -euo pipefail
cd "$(dirname "$0")/../.."

eval "$(tests/tools.sh "${1:?a directory for tools}")"
export AAA_NATS_SERVER=${AAA_NATS_SERVER:-nats-server}
for program in prometheus promtool python3 "$AAA_NATS_SERVER"; do
    command -v "$program" >/dev/null 2>&1 && continue
    echo "not run: the tests of alerts and dashboards need $program (Debian: apt-get install prometheus python3)" >&2
    [ -z "${CI:-}" ] || exit 1
    exit 0
done
promtool check rules deploy/prometheus/choria-aaa.rules.yml >/dev/null
promtool test rules deploy/prometheus/choria-aaa.test.yml
exec python3 -B tests/install/monitoring.py "${@:2}"
