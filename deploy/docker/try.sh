#!/bin/sh
# Does what the Dockerfile does, without Docker, and tries what came of it: try.sh [FOLDER]
#
# Installs the checkout into FOLDER, which must be empty (default: a new one, removed at the end), by build.sh, as the image
# does. Runs the service there with nothing of this machine's environment, asks it as the HEALTHCHECK does, ends it by
# SIGTERM, and starts it again. As root it runs as the image's user, 10001, without capabilities and in a file system of
# which only data can be written; else as whoever runs this, with installed files read-only.
# What this cannot try: the base image, the layers, the ports, and the limits that Docker sets.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
checkout=$(cd "$here/../.." && pwd)
service=""

now() { date +%s%3N; }
say() { echo "try: $*"; }
fail() { echo "try: FAILED: $*" >&2; exit 1; }

if [ $# -gt 0 ]; then
    folder=$(cd "$1" && pwd)
    [ -z "$(ls -A "$folder")" ] || { echo "try.sh: $folder was not empty, expected an empty folder" >&2; exit 2; }
    trap '[ -z "$service" ] || kill -9 "$service"' EXIT
else
    folder=$(mktemp -d)
    trap '[ -z "$service" ] || kill -9 "$service"; chmod -R u+w "$folder"; rm -rf "$folder"' EXIT
fi
chmod 755 "$folder"

as_user=""
if [ "$(id -u)" = 0 ]; then
    as_user="setpriv --reuid 10001 --regid 10001 --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all"
    # A Python that this user may run: one below /root is none.
    for python in "${PYTHON:-}" python3 /usr/bin/python3 as-root; do
        $as_user "$python" -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break
    done
    if [ "$python" = as-root ]; then
        say "there is no Python >= 3.11 that user 10001 may run: trying it as root"
        as_user=""
        python=python3
    fi
    export PYTHON="$python"
fi

# -- as the Dockerfile: COPY of what .dockerignore lets in, RUN build.sh, RUN install /data ----------------------------
mkdir "$folder/checkout"
sed -n 's/^!//p' "$checkout/.dockerignore" | while read -r path; do
    (cd "$checkout" && cp -R --parents "$path" "$folder/checkout")
done
sed -n '/^[^!#*]/p' "$checkout/.dockerignore" | while read -r path; do rm -rf "$folder/checkout/$path"; done
begun=$(now)
sh "$folder/checkout/deploy/docker/build.sh" "$folder/checkout" "$folder/opt"
cp "$folder/checkout/deploy/docker/health.py" "$folder/opt/health.py"
rm -r "$folder/checkout"
mkdir -m 0700 "$folder/data"
mkdir "$folder/etc"
say "installed in $(($(now) - begun)) ms, $(du -sm "$folder/opt" | cut -f1) MB"

cat >"$folder/etc/config.yaml" <<'CONFIGURATION'
accounts: [{name: main, exchange: none}]
http: {port: 0}
grpc: {port: 0}
pubsub: {nats: {url: null}}
CONFIGURATION
chmod -R a-w "$folder/opt" "$folder/etc"
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')

# -- as the Dockerfile: ENV, USER, WORKDIR ----------------------------------------------------------------------------
if [ -n "$as_user" ]; then
    chown 10001:10001 "$folder/data"
    if unshare --mount true 2>/dev/null; then
        # $0 is the folder of data; the rest is the command.
        as_user="unshare --mount sh -c 'mount --bind \"\$0\" \"\$0\" && mount -o remount,bind,ro / && exec \"\$@\"' \
            '$folder/data' $as_user"
    fi
fi
inside() { # inside COMMAND...: as it would be run in the container
    cd "$folder/etc"
    eval "exec $as_user env -i 'PATH=$folder/opt/bin:/usr/bin:/bin' PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
        'ACCOUNT_MONITOR__SERVICE__DATA_DIR=$folder/data' 'ACCOUNT_MONITOR__METRICS__PORT=$port' \"\$@\""
}

# shellcheck disable=SC2016 # the shell inside expands it
(inside sh -c 'echo "try: user $(id -u), capabilities $(sed -n "s/^CapEff:[[:space:]]*//p" /proc/self/status)"')
if (inside sh -c ": >'/tmp/try.$$' && rm '/tmp/try.$$'") 2>/dev/null; then
    say "the file system outside of the folder could not be made read-only"
else
    say "the file system is read-only"
fi
for written in opt etc; do
    [ -n "$as_user" ] || [ "$(id -u)" != 0 ] || continue # root may always
    if (inside sh -c ": >'$folder/$written/x'") 2>/dev/null; then fail "$folder/$written can be written"; fi
done
(inside sh -c ": >'$folder/data/x' && rm '$folder/data/x'") || fail "$folder/data cannot be written"

is_well() { inside python "$folder/opt/health.py"; } # the HEALTHCHECK
is_ready() { # the readiness probe of Kubernetes
    inside python -c "import urllib.request as r; r.urlopen('http://127.0.0.1:$port/ready', timeout=5)"
}
wait_until() { # wait_until QUESTION WORD: asks until it is so
    until said=$( ("$1") 2>&1); do
        kill -0 "$service" 2>/dev/null || { service=""; cat "$folder/log" >&2; fail "the service ended"; }
        [ $(($(now) - begun)) -lt 30000 ] || { cat "$folder/log" >&2; fail "not $2 after 30 s: $said"; }
        sleep 0.1
    done
    say "$2 after $(($(now) - begun)) ms"
}
run_once() { # starts the service, waits until it is well and ready, and ends it
    begun=$(now)
    (inside account-monitor run) >"$folder/log" 2>&1 &
    service=$!
    wait_until is_well well
    wait_until is_ready ready
    begun=$(now)
    kill -TERM "$service"
    status=0
    wait "$service" || status=$?
    service=""
    took=$(($(now) - begun))
    [ "$status" = 0 ] || { cat "$folder/log" >&2; fail "SIGTERM: ended with $status"; }
    [ "$took" -lt 10000 ] || fail "SIGTERM: took $took ms; Compose and systemd kill after 10000"
    say "SIGTERM: ended with 0 after $took ms"
}
run_once
run_once # with the journal of the first
if (is_well) >/dev/null 2>&1; then fail "the health check is well without a service"; fi
say "data: $(cd "$folder/data" && echo *)"
say "ok"
