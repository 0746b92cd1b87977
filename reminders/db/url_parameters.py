"""Every parameter of a `DATABASE_URL` that anybody hands out, by what is done with it.

libpq's are all here; the others are those of poolers, ORMs and drivers that write to the same URL.
"""

from __future__ import annotations

from collections.abc import Mapping


def _names(words: str) -> frozenset[str]:
    return frozenset(words.split())


PASSED_ON = _names("""
    user password dbname database host port passfile service
    sslmode sslcert sslkey sslrootcert sslcrl sslpassword sslnegotiation
    ssl_min_protocol_version ssl_max_protocol_version target_session_attrs krbsrvname gsslib
""")
"""To the driver, which gives them libpq's meaning."""

TRANSLATED = _names("""
    application_name fallback_application_name connect_timeout options channel_binding
    servicefile keepalives keepalives_idle keepalives_interval keepalives_count
    tcp_user_timeout requiressl ssl
""")
"""Into what the driver, the socket or a statement says in their place."""

ACCEPTED: Mapping[str, tuple[str, ...]] = {
    "gssencmode": ("disable", "prefer"),
    "gssdelegation": ("0",),
    "require_auth": (),
    "sslcertmode": ("allow",),
    "sslcompression": ("0", "1"),
    "sslsni": ("1",),
    "sslaccept": ("accept_invalid_certs",),
    "replication": ("0", "false", "no", "off"),
    "client_encoding": ("auto", "utf8", "utf-8", "unicode"),
    "encoding": ("utf8", "utf-8", "unicode"),
    "min_protocol_version": ("3.0",),
    "max_protocol_version": ("3.0", "3.2", "latest"),
}
"""Values that are met anyway; with any other the parameter is refused."""

REFUSED: Mapping[str, str] = {
    "hostaddr": "write the address as the host",
    "requirepeer": "leave it out; file permissions of the socket say who may use it",
    "sslcrldir": "write sslcrl with one file",
    "sslkeylogfile": "set the variable SSLKEYLOGFILE",
    "sslidentity": "write sslcert and sslkey, in PEM",
    "scram_client_key": "write the password",
    "scram_server_key": "write the password",
    "oauth_issuer": "write a user and a password",
    "oauth_client_id": "write a user and a password",
    "oauth_client_secret": "write a user and a password",
    "oauth_scope": "write a user and a password",
}
"""What the driver cannot do, and what to write instead."""

POOLED: Mapping[str, tuple[str, ...]] = {
    "pgbouncer": ("true", "1", "yes", "on"),
    "prepared_statements": ("false", "0"),
    "prepare": ("false", "0"),
    "prefer_simple_protocol": ("true", "1"),
    "preparethreshold": ("0",),
    "prepared_statement_cache_size": ("0",),
    "statement_cache_size": ("0",),
    "statement_cache_capacity": ("0",),
    "description_cache_capacity": ("0",),
    "statement_cache_mode": ("describe",),
    "default_query_exec_mode": ("exec", "simple_protocol", "cache_describe", "describe_exec"),
}
"""How other drivers and ORMs are told that nothing outlives a transaction, and with which value."""

SCHEMA = frozenset(("schema", "currentschema", "search_path"))
"""Where our tables are, in owned mode."""

SETTINGS = _names("""
    statement_timeout lock_timeout idle_in_transaction_session_timeout idle_session_timeout
    transaction_timeout timezone
""")
"""Settings of the server that some drivers take as parameters."""

WITHOUT_EFFECT = _names("""
    connection_limit pool_timeout pool_size pool max_overflow pool_recycle pool_pre_ping
    checkout_timeout reaping_frequency conn_max_age socket_timeout single_use_connections
    max_idle_connection_lifetime pool_max_conns pool_min_conns pool_max_conn_lifetime
    pool_max_conn_idle_time load_balance_hosts supa workaround uselibpqcompat advisory_locks
    binary_parameters
""")
"""About pools and habits of other clients; our pool is `DATABASE_POOL_SIZE`."""

ENVIRONMENT: Mapping[str, str] = {
    "PGSSLMODE": "sslmode",
    "PGSSLROOTCERT": "sslrootcert",
    "PGSSLCERT": "sslcert",
    "PGSSLKEY": "sslkey",
    "PGSSLCRL": "sslcrl",
    "PGSSLCRLDIR": "sslcrldir",
    "PGSSLNEGOTIATION": "sslnegotiation",
    "PGSSLMINPROTOCOLVERSION": "ssl_min_protocol_version",
    "PGSSLMAXPROTOCOLVERSION": "ssl_max_protocol_version",
    "PGSSLCERTMODE": "sslcertmode",
    "PGSSLSNI": "sslsni",
    "PGREQUIRESSL": "requiressl",
    "PGCHANNELBINDING": "channel_binding",
    "PGREQUIREAUTH": "require_auth",
    "PGREQUIREPEER": "requirepeer",
    "PGGSSENCMODE": "gssencmode",
    "PGHOSTADDR": "hostaddr",
    "PGAPPNAME": "application_name",
    "PGCONNECT_TIMEOUT": "connect_timeout",
    "PGOPTIONS": "options",
    "PGCLIENTENCODING": "client_encoding",
    "PGTARGETSESSIONATTRS": "target_session_attrs",
    "PGSERVICE": "service",
    "PGSERVICEFILE": "servicefile",
}
"""Variables that stand in for a parameter which the URL leaves out."""
