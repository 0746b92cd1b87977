"""The stand-in as a process: started, killed, restarted, cut off, and spoken to by the real SDK."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import resend

from devstack.directories import DirectoryInUseError
from devstack.process import EmbeddedServerError, is_alive, wait_until
from devstack.provider.__main__ import main
from devstack.provider.server import EmbeddedProvider
from tests.devstack.standin import mail
from tests.provider import ProviderClient

BATCH: Any = [mail(f"u{n}@clinic.dev") for n in range(3)]


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedProvider]:
    """A stand-in in a temporary directory, with a quota to be seen in headers."""
    with EmbeddedProvider(rate=0, latency_ms=0, daily_quota=1000) as server:
        yield server


@pytest.fixture
def sdk(server: EmbeddedProvider, monkeypatch: pytest.MonkeyPatch) -> EmbeddedProvider:
    """The real SDK, pointed at the stand-in."""
    monkeypatch.setattr(resend, "api_url", server.url)
    monkeypatch.setattr(resend, "api_key", server.api_key)
    # Our mailer, used by other tests of this process, has put its own client in this place.
    monkeypatch.setattr(resend, "default_async_http_client", resend.HTTPXClient())
    return server


async def test_the_sdk_sends_batches(sdk: EmbeddedProvider) -> None:
    """`resend.Batch.send_async` gets ids, replays, permissive errors and lower-case headers."""
    async with ProviderClient(sdk.url) as control:
        await control.reset()
        first = await resend.Batch.send_async(BATCH, {"idempotency_key": "sdk"})
        again = await resend.Batch.send_async(BATCH, {"idempotency_key": "sdk"})
        assert [row["id"] for row in first["data"]] == [row["id"] for row in again["data"]]
        assert first["http_headers"]["x-resend-daily-quota"] == "3"
        bad: Any = mail("nobody")
        mixed = await resend.Batch.send_async(
            [*BATCH, bad],
            {"idempotency_key": "sdk-2", "batch_validation": "permissive"},
        )
        assert (len(mixed["data"]), [e["index"] for e in mixed["errors"]]) == (3, [3])
        assert len(await control.accepted()) == 6


async def test_the_sdk_reads_usage_and_emails(sdk: EmbeddedProvider) -> None:
    """Single sends, lookups and usage have the shape the SDK expects."""
    sent = await resend.Emails.send_async({**mail(), "to": "ana@clinic.dev"})  # type: ignore[typeddict-item]
    read = await resend.Emails.get_async(email_id=sent["id"])
    assert read["subject"] == "Soon"
    assert (await resend.Usage.get_async())["rate_limit"]["duration"] == "1000ms"


@pytest.mark.parametrize(
    ("fault", "code", "error_type"),
    [
        ({"kind": "status", "status": 429, "retry_after": 2}, 429, "rate_limit_exceeded"),
        ({"kind": "status", "status": 403}, 403, "invalid_api_key"),
        ({"kind": "status", "status": 502, "html": True}, 502, "application_error"),
        ({"kind": "drop_after_accept"}, 500, "HttpClientError"),
        ({"kind": "drop_before_accept"}, 500, "HttpClientError"),
    ],
)
async def test_the_sdk_sees_faults_as_from_resend(
    sdk: EmbeddedProvider, fault: dict[str, Any], code: int, error_type: str
) -> None:
    """Refusals carry their name and headers; a cut connection is a transport error."""
    async with ProviderClient(sdk.url) as control:
        await control.reset()
        await control.faults(count=1, **fault)
        with pytest.raises(resend.exceptions.ResendError) as raised:
            await resend.Batch.send_async(BATCH, {"idempotency_key": "fault"})
        assert (raised.value.code, raised.value.error_type) == (code, error_type)
        if code == 429:
            assert raised.value.headers["retry-after"] == "2"
        accepted = await control.accepted()
        assert len(accepted) == (3 if fault["kind"] == "drop_after_accept" else 0)
        answer = await resend.Batch.send_async(BATCH, {"idempotency_key": "fault"})
        if accepted:
            assert [row["id"] for row in answer["data"]] == [row["id"] for row in accepted]
        assert len(await control.accepted()) == 3


async def test_a_hanging_request_ends_with_its_connection(server: EmbeddedProvider) -> None:
    """The client gives up by its own time limit; the e-mails were accepted all the same."""
    async with ProviderClient(server.url) as control:
        await control.reset()
        await control.faults(kind="drop_after_accept", hang=True, count=1)
        headers = {"authorization": f"Bearer {server.api_key}", "idempotency-key": "hang"}
        with pytest.raises(httpx2.ReadTimeout):
            await control.http.post("/emails/batch", json=BATCH, headers=headers, timeout=0.1)
        assert len(await control.accepted()) == 3
        assert (await control.requests())[-1]["name"] == "hung"
        again = await control.http.post("/emails/batch", json=BATCH, headers=headers)
        assert again.status_code == 200
        assert len(await control.accepted()) == 3


async def test_a_killed_stand_in_comes_back_with_everything(server: EmbeddedProvider) -> None:
    """After SIGKILL and a restart: same port, same ids, same keys, same used quota."""
    async with ProviderClient(server.url) as control:
        await control.reset()
        headers = {"authorization": f"Bearer {server.api_key}", "idempotency-key": "kill"}
        first = await control.http.post("/emails/batch", json=BATCH, headers=headers)
        before = await control.accepted(bodies=True)
    url = server.url
    server.kill()
    assert server.pid is None
    server.start()
    assert server.url == url
    async with ProviderClient(server.url) as control:
        assert await control.accepted(bodies=True) == before
        again = await control.http.post("/emails/batch", json=BATCH, headers=headers)
        assert again.json() == first.json()
        assert again.headers["x-resend-daily-quota"] == "3"


async def test_webhooks_reach_a_listener() -> None:
    """A running stand-in posts its events by itself, and to where it is told later."""
    got: asyncio.Queue[bytes] = asyncio.Queue()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        await got.put(head + await reader.readexactly(length))
        writer.write(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
        writer.close()

    secret = "whsec_" + base64.b64encode(b"k" * 24).decode()
    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    async with listener:
        with EmbeddedProvider(
            webhook_url=f"http://127.0.0.1:{port}/hook", webhook_secret=secret
        ) as server:
            async with ProviderClient(server.url) as control:
                headers = {"authorization": f"Bearer {server.api_key}"}
                await control.http.post("/emails", json=mail(), headers=headers)
                async with asyncio.timeout(10):
                    events = [await got.get(), await got.get()]
    types = {json.loads(event.partition(b"\r\n\r\n")[2])["type"] for event in events}
    assert types == {"email.sent", "email.delivered"}
    assert all(b"svix-signature: v1," in event for event in events)


async def test_an_orderly_stop_leaves_the_data_for_the_next_start(tmp_path: Path) -> None:
    """What was accepted is there again; meanwhile nobody else gets the directory."""
    server = EmbeddedProvider(tmp_path, api_key="re_mine", allow_example=True)
    headers = {"authorization": "Bearer re_mine"}
    for accepted_before in (0, 1):
        with server:
            async with ProviderClient(server.url) as control:
                assert len(await control.accepted()) == accepted_before
                email = mail("a@test.com")
                sent = await control.http.post("/emails", json=email, headers=headers)
                assert sent.status_code == 200
                with pytest.raises(DirectoryInUseError):
                    EmbeddedProvider(tmp_path).start()
    assert (tmp_path / "provider.db").exists()


def test_it_dies_with_its_parent(tmp_path: Path) -> None:
    """A parent killed with SIGKILL leaves no stand-in behind."""
    script = (
        "import sys, time; from pathlib import Path\n"
        "from devstack.provider.server import EmbeddedProvider\n"
        "server = EmbeddedProvider(Path(sys.argv[1])); server.start()\n"
        "print(server.pid, flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert is_alive(pid)
        parent.kill()
    assert wait_until(lambda: not is_alive(pid), seconds=10)


def test_a_port_in_use_is_said_so() -> None:
    """A start that cannot work fails with the reason, and leaves nothing behind."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = EmbeddedProvider(port=taken.getsockname()[1])
        with pytest.raises(EmbeddedServerError, match="Address already in use"):
            server.start()
    assert server.pid is None


def test_a_handle_says_what_it_cannot_know_yet() -> None:
    """Before the start there is no URL and no log; a second start is refused."""
    server = EmbeddedProvider()
    for name in ("url", "log_file"):
        with pytest.raises(RuntimeError, match="not been started"):
            getattr(server, name)
    server.stop()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rate", "-1"], "must not be negative"),
        (["--latency-ms", "-1"], "must be a number of milliseconds"),
        (["--webhook-url", "http://127.0.0.1:1/"], "go together"),
        (["--webhook-secret", "secret"], "must be whsec_ and base64"),
        (["--webhook-secret", "whsec_?"], "must be whsec_ and base64"),
        (["--port", "99999"], "--port"),
    ],
)
def test_a_bad_argument_is_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command line says what is wrong instead of showing a traceback."""
    with pytest.raises(SystemExit):
        main(arguments)
    assert message in capsys.readouterr().err
