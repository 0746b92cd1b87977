#!/bin/sh
# Brings both databases of Temporal to the schema of its release; safe to repeat, and at every upgrade.
# Database and login are in the environment: SQL_HOST, SQL_PORT, SQL_USER, SQL_PASSWORD, SQL_PLUGIN.
set -eu
versions=/etc/temporal/schema/postgresql/v12
for pair in temporal:temporal temporal_visibility:visibility; do
    database=${pair%%:*}
    directory=$versions/${pair##*:}/versioned
    # An update only works where the table of versions is: otherwise the database is new.
    if ! temporal-sql-tool --database "$database" update-schema --schema-dir "$directory"; then
        temporal-sql-tool --database "$database" setup-schema --version 0.0
        temporal-sql-tool --database "$database" update-schema --schema-dir "$directory"
    fi
done
