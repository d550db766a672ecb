#!/bin/sh
# Starts Valkey with the password of a file. It is a cache: the service fills it anew, so nothing is kept on a disk.
set -eu
password=$(cat "${REDIS_PASSWORD_FILE:-/run/secrets/redis_password}")
exec valkey-server - "$@" <<CONFIGURATION
requirepass $password
save ""
appendonly no
maxmemory 192mb
maxmemory-policy noeviction
protected-mode yes
CONFIGURATION
