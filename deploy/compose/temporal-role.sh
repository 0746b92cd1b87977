#!/bin/sh
# Run by the image of PostgreSQL when its volume is empty: a role for Temporal, which sees nothing of
# ours, and its two databases.
set -eu
psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
    --set password="$TEMPORAL_POSTGRES_PASSWORD" --set ours="$POSTGRES_DB" <<'SQL'
CREATE ROLE temporal LOGIN PASSWORD :'password';
CREATE DATABASE temporal OWNER temporal;
CREATE DATABASE temporal_visibility OWNER temporal;
REVOKE CONNECT ON DATABASE :"ours" FROM PUBLIC;
SQL
