#!/usr/bin/env bash
# Checks alert rules and dashboards, and plays the situations that alerts are for. PROMTOOL names promtool, where it is not on the
# path, and AAA_BIN the program, whose metrics are then compared with what is asked of them.
set -euo pipefail
cd "$(dirname "$0")/../.."

export PROMTOOL=${PROMTOOL:-promtool}
if ! command -v "$PROMTOOL" >/dev/null 2>&1 || ! command -v python3 >/dev/null 2>&1; then
    echo "not run: the tests of alerts and dashboards need promtool and Python 3 (Debian: apt-get install prometheus python3)" >&2
    [ -z "${CI:-}" ] || exit 1
    exit 0
fi
"$PROMTOOL" check rules deploy/prometheus/choria-aaa.rules.yml >/dev/null
"$PROMTOOL" test rules deploy/prometheus/choria-aaa.test.yml
exec python3 -B tests/install/monitoring.py
