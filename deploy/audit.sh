#!/usr/bin/env bash
# Asks a database of known weaknesses about every locked package. Fails when there are some, and when
# it cannot be asked; only where the database cannot be reached from here, nothing was audited, and the last line says so.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# What pip-audit, and the libraries below it, say where there is no way to the database.
unreachable='ConnectionError|ConnectTimeout|ReadTimeout|Max retries exceeded|Failed to establish a new connection'
unreachable+='|NameResolutionError|Could not connect|[Tt]imed out|ProxyError'
reports=$(mktemp)
trap 'rm -f "$reports"' EXIT
timeout 120 .venv-audit/bin/pip-audit --require-hashes --disable-pip --no-deps --progress-spinner off --timeout 10 \
    -r requirements/run.txt >"$reports" 2>&1
status=$?
if [ "$status" = 0 ]; then
    echo "audit: no known weakness in what is locked"
elif grep -qE '^Found [0-9]+ known vulnerabilit' "$reports"; then
    cat "$reports"
    exit 1
elif [ "$status" = 124 ] || grep -qE "$unreachable" "$reports"; then
    tail -n 1 "$reports" >&2
    echo "audit: NOT DONE, the database of weaknesses cannot be reached from here"
else
    cat "$reports" >&2
    echo "audit: FAILED, pip-audit ended with status $status" >&2
    exit 1
fi
