#!/usr/bin/env bash
# Asks a database of known weaknesses about every locked package. Fails when there are some; where the database cannot be
# reached, nothing was audited, and the last line says so.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

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
else
    tail -n 1 "$reports" >&2
    echo "audit: NOT DONE, the database of weaknesses cannot be reached from here"
fi
