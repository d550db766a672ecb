#!/bin/sh
# Installs a checkout as it runs in the container: build.sh CHECKOUT TARGET
#
# TARGET becomes a virtual environment with what requirements/image.txt locks and account-monitor itself; nothing that
# only builds is in it, and no NATS server. The Dockerfile runs this, and deploy/docker/try.sh does so without Docker.
set -eu
checkout=$1
target=$2
python=${PYTHON:-python3}
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT

# uv is the only thing that pip installs; its hash is locked like those of all others. UV names one that is there already.
if [ -z "${UV:-}" ]; then
    "$python" -m venv "$tools/uv"
    "$tools/uv/bin/pip" install --quiet --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes \
        --requirement "$checkout/requirements/bootstrap.txt"
    UV=$tools/uv/bin/uv
fi
uv="$UV --quiet"

"$python" -m venv --without-pip "$tools/python"
$uv pip install --python "$tools/python/bin/python" --no-deps --only-binary=:all: --require-hashes \
    --requirement "$checkout/requirements/build.txt"
$uv build --wheel --offline --no-build-isolation --python "$tools/python/bin/python" \
    --out-dir "$tools/wheels" "$checkout"

"$python" -m venv --without-pip "$target"
$uv pip sync --python "$target/bin/python" --only-binary=:all: --require-hashes --link-mode copy --compile-bytecode \
    "$checkout/requirements/image.txt"
$uv pip install --python "$target/bin/python" --offline --no-deps --link-mode copy --compile-bytecode \
    "$tools"/wheels/account_monitor-*.whl
