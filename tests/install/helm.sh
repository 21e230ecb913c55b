#!/usr/bin/env bash
# Lints, renders, validates and tests the Helm chart. Takes a directory for tools: what is missing there is built with Go or
# installed with pip, once. AAA_BIN names the program, which then checks the configurations that the chart makes. `--write` as the
# second argument brings the table in the chart's README up to date instead.
set -euo pipefail
cd "$(dirname "$0")/../.."

tools=${1:?a directory for tools}
helm_version=v3.22.0
kubeconform_version=v0.8.0
validate_version=1.37.0

not_run() {
    echo "not run: the tests of the Helm chart need $1" >&2
    [ -z "${CI:-}" ] || exit 1
    exit 0
}

mkdir -p "$tools"
tools=$(cd "$tools" && pwd)
python=$tools/python/bin/python
if [ ! -x "$python" ] || ! "$python" -c 'import kubernetes_validate' 2>/dev/null; then
    echo "installing kubernetes-validate $validate_version, once" >&2
    { python3 -m venv "$tools/python" && "$python" -m pip install --quiet --disable-pip-version-check "kubernetes-validate==$validate_version"; } >&2 ||
        not_run "Python 3 with venv (Debian: apt-get install python3-venv), and a package index to install kubernetes-validate from"
fi
kubeconform=$tools/kubeconform
if [ ! -x "$kubeconform" ]; then
    command -v "${GO:-go}" >/dev/null 2>&1 && echo "building kubeconform $kubeconform_version, once" >&2 &&
        GOBIN=$tools "${GO:-go}" install "github.com/yannh/kubeconform/cmd/kubeconform@$kubeconform_version" >&2 ||
        not_run "Go 1.25 or newer (https://go.dev/dl) to build kubeconform"
fi
helm=$tools/helm
if [ ! -x "$helm" ]; then
    if command -v "${GO:-go}" >/dev/null 2>&1 && echo "building helm $helm_version, once" >&2 &&
        GOBIN=$tools "${GO:-go}" install "helm.sh/helm/v3/cmd/helm@$helm_version" >&2; then
        :
    elif command -v helm >/dev/null 2>&1; then
        helm=$(command -v helm)
    else
        not_run "Helm 3 (https://helm.sh/docs/intro/install), or Go 1.25 or newer to build it (https://go.dev/dl)"
    fi
fi

HELM=$helm KUBECONFORM=$kubeconform exec "$python" -B tests/install/chart.py "${@:2}"
