#!/bin/sh
# What the official image of PostgreSQL does, as far as docker-compose.yml relies on it: at the first
# start it makes a cluster, a login and a database, and runs the scripts of its folder.
set -eu
export PGDATA=/var/lib/postgresql/trial
bin=$(echo /usr/lib/postgresql/*/bin)
if [ "$(id -u)" = 0 ]; then
    install --directory --owner=postgres --mode=0700 "$PGDATA"
    exec setpriv --reuid=postgres --regid=postgres --init-groups /bin/sh "$0"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    secret=$(mktemp)
    printf '%s\n' "$POSTGRES_PASSWORD" >"$secret"
    "$bin/initdb" --username="$POSTGRES_USER" --pwfile="$secret" --encoding=UTF8 --locale=C.UTF-8 \
        --auth-local=trust --auth-host=scram-sha-256
    rm "$secret"
    echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
    "$bin/pg_ctl" --wait --options="-c listen_addresses=''" start
    createdb --username="$POSTGRES_USER" "$POSTGRES_DB"
    for script in /docker-entrypoint-initdb.d/*.sh; do
        /bin/sh "$script"
    done
    "$bin/pg_ctl" --wait --mode=fast stop
fi
exec "$bin/postgres" -c listen_addresses='*'
