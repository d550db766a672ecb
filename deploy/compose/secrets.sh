#!/bin/sh
# Makes the passwords of deploy/compose.yaml, each once: what is there stays. They leave this machine in no image.
# The folder is for its owner alone; the files in it are readable, since each container has a user of its own.
set -eu
folder=${1:-$(dirname "$0")/secrets}
mkdir -p "$folder"
chmod 700 "$folder"
for name in postgres_password redis_password grafana_password; do
    if [ ! -e "$folder/$name" ]; then
        head -c 24 /dev/urandom | od -An -v -tx1 | tr -d ' \n' >"$folder/$name.new"
        chmod 444 "$folder/$name.new"
        mv "$folder/$name.new" "$folder/$name"
        echo "made $folder/$name"
    fi
done
