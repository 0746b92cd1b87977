"""TLS is used and verified as `DATABASE_URL` asks; before the embedded PostgreSQL, which has none."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from sqlalchemy import text

from devstack.postgres import PORT, EmbeddedPostgres
from reminders.db.engine import Database
from reminders.domain.errors import DatabaseRefusedError

_SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
"""The message by which a client asks for TLS (PostgreSQL, frontend/backend protocol)."""

pytestmark = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="openssl, which makes certificates, is not installed"
)


class Front:
    """Takes TLS connections for a PostgreSQL that does not, on a port of this machine."""

    def __init__(self, postgres: EmbeddedPostgres, certificate: Path | None) -> None:
        self._socket = f"{postgres._socket_dir}/.s.PGSQL.{PORT}"
        self._context: ssl.SSLContext | None = None
        if certificate is not None:
            self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self._context.load_cert_chain(certificate, certificate.with_suffix(".key"))
        self.encrypted = 0
        """Connections that came by TLS."""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[int]:
        """Its port."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        async with server:
            yield server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there: asyncio.StreamWriter | None = None
        with suppress(OSError, asyncio.IncompleteReadError):
            first = await reader.readexactly(8)
            if first == _SSL_REQUEST:
                writer.write(b"S" if self._context else b"N")
                await writer.drain()
                first = b""
                if self._context:
                    await writer.start_tls(self._context)
                    self.encrypted += 1
            answers, there = await asyncio.open_unix_connection(self._socket)
            there.write(first)
            await asyncio.gather(_pumped(reader, there), _pumped(answers, writer))
        for end in (writer, there):
            if end is not None:
                end.close()


async def _pumped(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while part := await source.read(65_536):
            sink.write(part)
            await sink.drain()
    sink.close()


def _self_signed(folder: Path, name: str, host: str) -> Path:
    path = folder / f"{name}.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    subprocess.run(
        [
            *command.split(),
            *("-keyout", path.with_suffix(".key"), "-out", path, "-subj", f"/CN={host}"),
            *("-addext", f"subjectAltName={host if ':' in host else f'DNS:{host}'}"),
        ],
        check=True,
        capture_output=True,
    )
    return path


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Of this machine, of another, and one that nobody has."""
    folder = tmp_path_factory.mktemp("tls")
    hosts = {"ours": "IP:127.0.0.1", "elsewhere": "db.example", "strange": "IP:127.0.0.1"}
    return {name: _self_signed(folder, name, host) for name, host in hosts.items()}


async def _asked(port: int, query: str) -> object:
    database = Database(f"postgresql://postgres@127.0.0.1:{port}/template?{query}")
    try:
        return await database.scalar(text("SELECT 1"))
    finally:
        await database.aclose()


@pytest.mark.parametrize("query", ["sslmode=require", "ssl=true", "sslmode=no-verify", ""])
async def test_require_uses_tls(
    query: str, postgres: EmbeddedPostgres, certificates: dict[str, Path]
) -> None:
    """It really does; and what is preferred is taken, too."""
    front = Front(postgres, certificates["ours"])
    async with front.serving() as port:
        assert 1 == await _asked(port, query)
    assert front.encrypted == 1


@pytest.mark.parametrize("query", ["sslmode=require", "sslmode=verify-full&sslrootcert={ours}"])
async def test_require_needs_tls(
    query: str, postgres: EmbeddedPostgres, certificates: dict[str, Path]
) -> None:
    """A server without it is not spoken to, and the operator is told what to mend."""
    async with Front(postgres, None).serving() as port:
        with pytest.raises(DatabaseRefusedError, match=r"no TLS.*sslmode"):
            await _asked(port, query.format(**certificates))
        assert 1 == await _asked(port, "sslmode=prefer")


@pytest.mark.parametrize(
    ("presented", "query", "is_trusted"),
    [
        ("ours", "sslmode=verify-full&sslrootcert={ours}", True),
        ("ours", "sslmode=verify-ca&sslrootcert={ours}", True),
        ("ours", "channel_binding=require&sslrootcert={ours}", True),
        ("elsewhere", "sslmode=verify-ca&sslrootcert={elsewhere}", True),
        ("elsewhere", "sslmode=verify-full&sslrootcert={elsewhere}", False),
        ("ours", "sslmode=verify-full&sslrootcert={strange}", False),
        ("ours", "sslmode=require&sslrootcert={strange}", False),
        ("ours", "sslmode=verify-full&sslrootcert=system", False),
        ("ours", "sslmode=require&channel_binding=require", False),
    ],
)
async def test_a_certificate_is_verified_as_asked(
    presented: str,
    query: str,
    is_trusted: bool,
    postgres: EmbeddedPostgres,
    certificates: dict[str, Path],
) -> None:
    """Who signed it, and with `verify-full` whose it is."""
    async with Front(postgres, certificates[presented]).serving() as port:
        if is_trusted:
            assert 1 == await _asked(port, query.format(**certificates))
            return
        with pytest.raises(DatabaseRefusedError, match=r"not trusted.*sslrootcert"):
            await _asked(port, query.format(**certificates))
