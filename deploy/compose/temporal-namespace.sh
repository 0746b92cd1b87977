#!/bin/sh
# Makes sure of the namespace; closed workflows are kept for three days, the ledger knows the rest.
set -eu
if ! temporal operator namespace describe --namespace "$TEMPORAL_NAMESPACE" >/dev/null 2>&1; then
    temporal operator namespace create --namespace "$TEMPORAL_NAMESPACE" --retention 72h
fi
# A new namespace is known to every part of the server within some seconds.
tries=30
until temporal operator search-attribute list --namespace "$TEMPORAL_NAMESPACE" >/dev/null 2>&1; do
    tries=$((tries - 1))
    if [ "$tries" -eq 0 ]; then
        echo "namespace $TEMPORAL_NAMESPACE is not ready after 30 tries" >&2
        exit 1
    fi
    sleep 1
done
