"""`DATABASE_URL` as hosts hand it out: libpq's meaning, or one line that names the parameter."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any
from urllib.parse import quote

import asyncpg
import pytest
from sqlalchemy import text

from devstack.postgres import EmbeddedPostgres
from reminders.db import url as urls
from reminders.db import url_parameters as parameters
from reminders.db.connections import keep_alive
from reminders.db.engine import Database
from reminders.db.url import Server, read
from reminders.domain.errors import InvalidInputError

DRIVERS_OWN = ("PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGPASSFILE", "PGDATABASE")
"""Variables that the driver itself reads for what the URL leaves out."""
LIBPQ = [
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "passfile",
    "require_auth",
    "channel_binding",
    "connect_timeout",
    "client_encoding",
    "options",
    "application_name",
    "fallback_application_name",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
    "replication",
    "gssencmode",
    "sslmode",
    "requiressl",
    "sslnegotiation",
    "sslcompression",
    "sslcert",
    "sslkey",
    "sslkeylogfile",
    "sslpassword",
    "sslcertmode",
    "sslrootcert",
    "sslcrl",
    "sslcrldir",
    "sslsni",
    "requirepeer",
    "ssl_min_protocol_version",
    "ssl_max_protocol_version",
    "min_protocol_version",
    "max_protocol_version",
    "krbsrvname",
    "gsslib",
    "gssdelegation",
    "scram_client_key",
    "scram_server_key",
    "service",
    "servicefile",
    "target_session_attrs",
    "load_balance_hosts",
    "oauth_issuer",
    "oauth_client_id",
    "oauth_client_secret",
    "oauth_scope",
]
"""Parameters of libpq 18."""

HANDED_OUT = {
    "Neon": "postgresql://u:p@ep-x-pooler.eu.neon.tech/d?sslmode=require&channel_binding=require",
    "Supabase, Prisma": "postgresql://postgres.ref:p@aws-0.pooler.supabase.com:6543/postgres"
    "?pgbouncer=true&connection_limit=1&pool_timeout=0",
    "Vercel": "postgres://u:p@h:6543/d?sslmode=require&supa=base-pooler.x",
    "Heroku": "postgres://u:p@ec2.compute.amazonaws.com:5432/d",
    "Fly": "postgres://u:p@app.flycast:5432/d?sslmode=disable",
    "DigitalOcean": "postgresql://doadmin:p@db.ondigitalocean.com:25060/defaultdb?sslmode=require",
    "RDS, with its own roots": "postgresql://u:p@rds/d?sslmode=verify-full&sslrootcert=system",
    "Rails": "postgresql://u:p@h/d?pool=5&prepared_statements=false&encoding=unicode",
    "Django": "postgis".replace("postgis", "postgresql") + "://u:p@h/d?conn_max_age=600",
    "SQLAlchemy": "postgresql+psycopg://u:p@h/d?connect_timeout=10&application_name=reminders",
    "node-postgres": "postgresql://u:p@h/d?ssl=true&sslmode=no-verify&uselibpqcompat=true",
    "Cloud SQL": "postgresql://u:p@/d?host=/cloudsql/project:region:instance",
    "Patroni": "postgresql://u:p@a:5432,b:5433/d?target_session_attrs=read-write"
    "&load_balance_hosts=disable&keepalives=1&keepalives_idle=30&tcp_user_timeout=10000",
    "pgx": "postgresql://u:p@h/d?default_query_exec_mode=simple_protocol&pool_max_conns=5",
}


@pytest.mark.parametrize("host", HANDED_OUT)
def test_what_hosts_hand_out_can_be_used(host: str) -> None:
    """As it is copied from the dashboard."""
    server = read(HANDED_OUT[host], {})
    assert server.dsn.startswith("postgresql://")
    assert "p@" not in repr(server), "a password would be in logs"


@pytest.mark.parametrize("name", LIBPQ)
def test_every_parameter_of_libpq_is_known(name: str) -> None:
    """None is ignored in silence, and none is taken for another's."""
    known = (
        parameters.PASSED_ON,
        parameters.TRANSLATED,
        parameters.ACCEPTED,
        parameters.REFUSED,
        parameters.WITHOUT_EFFECT,
    )
    assert sum(name in some for some in known) == 1


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("gssencmode=require", "gssencmode.*(leave it out)"),
        ("require_auth=scram-sha-256", "require_auth.*leave it out"),
        ("hostaddr=127.0.0.1", "hostaddr.*as the host"),
        ("sslcrldir=/x", "sslcrldir.*sslcrl"),
        ("replication=database", "replication"),
        ("client_encoding=latin1", "client_encoding.*utf8"),
        ("sslmode=verify_full", "sslmode.*verify-full"),
        ("sslmode=require&sslrootcert=/nowhere.pem", "sslrootcert.*no file"),
        ("sslmode=require&sslrootcert=system", "sslrootcert.*verify-full"),
        ("sslmode=disable&channel_binding=require", "channel_binding.*contradicts"),
        ("channel_binding=always", "channel_binding.*disable, prefer, require"),
        ("connect_timeout=soon", "connect_timeout.*number"),
        ("keepalives_idle=1.5", "keepalives_idle.*number"),
        ("target_session_attrs=master", "target_session_attrs.*primary"),
        ("service=nowhere", "service.*pg_service.conf"),
        ("statment_timeout=5", "statment_timeout.*not known"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(query: str, words: str) -> None:
    """In one line, with what to write instead and without the value."""
    with pytest.raises(InvalidInputError, match=words) as refused:
        read(f"postgresql://u:hunter2@h/d?{query}", {})
    assert refused.value.field == "DATABASE_URL"
    assert "\n" not in str(refused.value)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "mysql://h/d",
        "nonsense",
        "host=h dbname=d",
        "postgresql://u:p@h:port/d",
        "jdbc:postgresql://h/d",
    ],
)
def test_what_is_no_url_of_postgresql_is_refused_by_the_variable_s_name(url: str) -> None:
    """The error says what is wrong and what to write."""
    with pytest.raises(InvalidInputError, match=r"DATABASE_URL.*(write|only PostgreSQL)"):
        read(url, {})


@pytest.mark.parametrize(
    ("said", "meant"), [("true", "require"), ("no-verify", "require"), ("false", "disable")]
)
def test_what_other_drivers_call_ssl_is_honoured(said: str, meant: str) -> None:
    """Whoever asks for TLS in another driver's words does not go without."""
    assert read(f"postgresql://h/d?ssl={said}", {}) == read(f"postgresql://h/d?sslmode={meant}", {})


def test_verification_needs_a_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As with libpq; the remedy is in the line."""
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(InvalidInputError, match=r"sslmode.*sslrootcert=system"):
        read("postgresql://u@h/d?sslmode=verify-full", {})


def test_a_password_may_hold_anything() -> None:
    """Encoded or, as people paste them, not."""
    for password in ("a%40b", "a@b", "a#b", "p%25"):
        dsn = read(f"postgresql://u:{password}@h:1/d", {}).dsn
        assert dsn.count("@") == 1
        assert dsn.endswith("@h:1/d")


def test_channel_binding_is_had_by_the_certificate() -> None:
    """It is there so that nobody is in between, and so is a certificate that is verified."""
    context = read(HANDED_OUT["Neon"], {}).options["ssl"]
    assert context.check_hostname


@pytest.mark.parametrize(
    ("query", "is_pooled"),
    [
        ("pgbouncer=true", True),
        ("pgbouncer=false", False),
        ("prepared_statements=false", True),
        ("statement_cache_size=0", True),
        ("statement_cache_size=100", False),
        ("statement_cache_mode=describe", True),
        ("prepareThreshold=0", True),
        ("", False),
    ],
)
def test_what_other_drivers_say_about_poolers_is_understood(query: str, is_pooled: bool) -> None:
    """Whatever it is called there, it means that nothing outlives a transaction."""
    assert is_pooled == read(f"postgresql://u@h/d?{query}", {}).is_pooled


def test_options_become_settings_or_are_passed_on() -> None:
    """What is set is set by a statement; what a host routes by is said at the start."""
    set_up = read(
        "postgresql://u@h/d?options=-c%20statement_timeout%3D5s%20--lock_timeout%3D1s", {}
    )
    assert set_up.settings == {"statement_timeout": "5s", "lock_timeout": "1s"}
    assert "options" not in set_up.options["server_settings"]
    routed = read("postgresql://u@h/d?options=endpoint%3Dep-x", {})
    assert routed.options["server_settings"]["options"] == "endpoint=ep-x"


def test_the_environment_fills_in_what_the_url_leaves_out() -> None:
    """As with libpq: the URL counts first."""
    environment = {"PGAPPNAME": "nightly", "PGCONNECT_TIMEOUT": "9", "PGSSLMODE": "require"}
    server = read("postgresql://u@h/d?connect_timeout=3", environment)
    assert server.options["timeout"] == 3
    assert server.options["server_settings"]["application_name"] == "nightly"
    assert "sslmode=require" in server.dsn
    with pytest.raises(InvalidInputError, match=r"require_auth.*PGREQUIREAUTH"):
        read("postgresql://u@h/d", {"PGREQUIREAUTH": "none"})


def test_a_connection_is_waited_for_for_a_bounded_time() -> None:
    """Where libpq would wait for ever, too."""
    assert [urls.CONNECT_SECONDS, 60, 60, 7] == [
        read(f"postgresql://u@h/d{query}", {}).options["timeout"]
        for query in ("", "?connect_timeout=0", "?connect_timeout=3600", "?connect_timeout=7")
    ]


def _through(server: EmbeddedPostgres, **query: str) -> str:
    url = server.url("template")
    return url + "".join(f"&{name}={quote(value)}" for name, value in query.items())


async def test_what_is_asked_for_is_true_on_the_server(postgres: EmbeddedPostgres) -> None:
    """Settings, name and search path of a real session."""
    database = Database(
        _through(
            postgres,
            application_name="nightly",
            options="-c statement_timeout=7s",
            lock_timeout="3s",
            schema="elsewhere",
            connection_limit="1",
        )
    )
    names = ("application_name", "statement_timeout", "lock_timeout", "search_path")
    assert ["nightly", "7s", "3s", "elsewhere, pg_temp"] == [
        await database.scalar(_setting(name)) for name in names
    ]
    await database.aclose()


async def test_the_driver_reads_its_own_variables(
    postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`PGHOST`, `PGUSER` and `PGDATABASE` stand in for a URL that names none."""
    monkeypatch.setenv("PGHOST", str(postgres._socket_dir))
    monkeypatch.setenv("PGUSER", "postgres")
    monkeypatch.setenv("PGDATABASE", "template")
    database = Database("postgresql://")
    assert await database.scalar(_setting("search_path"))
    await database.aclose()


def test_the_socket_is_told_when_to_give_up() -> None:
    """`keepalives_idle` and its like reach the socket of the connection."""
    wanted = read("postgresql://u@h/d?keepalives_idle=42&keepalives_count=3", {}).keepalive
    with socket.socket() as there:
        keep_alive(there, wanted)
        assert there.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert there.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 42
        assert there.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == 3


def _setting(name: str) -> Any:
    return text(f"SELECT current_setting('{name}')")


def test_the_driver_s_reading_is_ours() -> None:
    """What we pass on is a URL that the driver reads, with several hosts and awkward characters."""
    server: Server = read("postgresql://u:a%2Fb@h1:1,[::1]:2/d%20x?sslmode=disable", {})
    addresses, found = asyncpg.connect_utils._parse_connect_dsn_and_args(
        dsn=server.dsn,
        **dict.fromkeys(
            [
                "host",
                "port",
                "user",
                "password",
                "passfile",
                "database",
                "ssl",
                "service",
                "servicefile",
                "direct_tls",
                "server_settings",
                "target_session_attrs",
                "krbsrvname",
                "gsslib",
            ]
        ),
    )
    assert [("h1", 1), ("::1", 2)] == list(addresses)
    assert ("u", "a/b", "d x") == (found.user, found.password, found.database)


def test_the_page_about_it_names_everything() -> None:
    """Every parameter of libpq and every variable is on the page, by name or by its family's."""
    page = (Path(__file__).parents[3] / "docs" / "database.md").read_text(encoding="utf-8")
    names = [*LIBPQ, *parameters.ENVIRONMENT, *DRIVERS_OWN, *parameters.SETTINGS]
    families = {"oauth": "oauth_", "scram": "scram_", "PGSSL": "`PGSSL...`"}
    missing = [
        name
        for name in names
        if f"`{name}" not in page
        and not any(name.startswith(f) and said in page for f, said in families.items())
    ]
    assert missing == []
