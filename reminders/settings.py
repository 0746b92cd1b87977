"""What the environment says. Read once, by composition roots; everything else is handed values.

Temporal's own variables (`TEMPORAL_ADDRESS`, `TEMPORAL_NAMESPACE`, ...) are not here: they are read
as the `temporal` CLI reads them, see `reminders.temporal`.
"""

from __future__ import annotations

import hashlib
import sys
from datetime import timedelta
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from reminders.api_keys import ApiKey, is_plain, parse
from reminders.domain.errors import ConfigurationError
from reminders.domain.keys import TASK_QUEUE
from reminders.domain.ports import Destination
from reminders.setting_values import (
    PLACEHOLDERS,
    Duration,
    Secrets,
    both_or_neither,
    host_and_port,
    in_words,
    is_loopback,
    is_weak,
    is_webhook_secret,
)


class Settings(BaseSettings):
    """Settings of worker, API and CLI; each field is the environment variable of its name."""

    model_config = SettingsConfigDict(
        env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True
    )

    # Database
    database_url: SecretStr | None = None
    """PostgreSQL, as your host hands it out: `postgresql://`, whatever driver and parameters follow;
    see `docs/database.md`. Required."""
    database_mode: Literal["owned", "existing"] = "owned"
    """`owned`: the tables `sessions`, `users` and `enrollments` are ours. `existing`: they are a
    platform's, and only read; all that is ours is in the schema `session_reminders`."""
    host_schema: str = Field(default="public", pattern=r"^[A-Za-z_][A-Za-z0-9_$]{0,62}$")
    """Where an existing platform's tables `sessions`, `users` and `enrollments` are, or the views
    with these names over its own ones; see `docs/existing-platform.md`."""
    database_pool_size: int = Field(default=10, ge=1, le=100)
    """Connections of one process at the most."""
    database_channel: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_$]{0,62}$")
    """Channel on which a worker listens (`LISTEN`) for what your triggers tell: ids of a session, or
    of a session and a user, that have changed; see `docs/existing-platform.md`. Not behind a pooler."""

    # Temporal
    temporal_task_queue: str = Field(default=TASK_QUEUE, min_length=1)
    """Where workers poll and the API starts workflows."""
    temporal_deployment_name: str | None = Field(default=None, min_length=1, pattern=r"^[^:.]+$")
    """Worker Versioning: the Worker Deployment that workers belong to; without, they take any task."""
    temporal_worker_build_id: str | None = Field(default=None, min_length=1)
    """Of these workers, in histories and in the deployment; default: the release."""
    sweep_cron: str = Field(default="*/15 * * * *", min_length=1)
    """When the sweep looks for changes that were never reported: a cron expression, in UTC."""

    # E-mail
    resend_api_key: SecretStr | None = None
    """Required, unless `RESEND_API_URL` is a stand-in on this machine."""
    resend_api_url: str = "https://api.resend.com"
    """Points tests and the demo at a stand-in."""
    resend_webhook_secret: Secrets = ()
    """`whsec_...`; several, comma-separated, while rotating. Without any, no webhook is taken."""
    delivery_mode: Literal["redirect", "live"] = "redirect"
    """`redirect`: every e-mail goes to `VERIFIED_TEST_EMAIL`. `live`: attendees get theirs."""
    shadow_mode: bool = False
    """Whether a cron job still sends: reminders are planned and only recorded, but for sessions that
    `reminders cutover` has taken over; see `docs/migration.md`."""
    verified_test_email: str | None = None
    """Where redirected e-mail goes; required in `redirect`."""
    email_from: str | None = None
    """`Name <address>`; required in `live`."""
    email_reply_to: str | None = None
    """Where answers go; absent means to the sender."""
    email_batch_size: int = Field(default=100, ge=1, le=100)
    """E-mails in one request to Resend at the most."""
    email_batch_delay_ms: int | None = Field(default=None, ge=0, le=60_000)
    """Least time between two requests of all workers; default: from the rate below."""
    email_requests_per_second: float = Field(default=8, gt=0, le=10_000)
    """Requests to Resend a second, of all workers together, at the most. Not set, it is 8 until Resend
    has said how many it takes, and then as many."""
    email_max_retries: int = Field(default=3, ge=0, le=20)
    """Retries in place of a request that failed; the activity's own retries come after."""
    email_initial_backoff_ms: int = Field(default=1000, ge=10, le=60_000)
    email_max_backoff_ms: int = Field(default=30_000, ge=10, le=600_000)
    email_backoff_multiplier: float = Field(default=2, ge=1, le=10)

    # The look of e-mails
    email_locale: str = Field(default="en", min_length=2, max_length=35)
    """Language, dates and clocks for attendees without a language of ours: BCP 47, such as `en-GB`."""
    email_product_name: str | None = Field(default=None, max_length=100)
    """Above every e-mail, and in the sentence that says why it was sent."""
    email_logo_url: str | None = None
    """A picture in place of the product name, which it needs as its text; shown 40 pixels high."""
    email_color: str | None = Field(default=None, pattern="^#[0-9a-fA-F]{6}$")
    """`#rrggbb` in place of our colours, of every e-mail; dark enough to be read on white (4.5:1)."""
    email_postal_address: str | None = Field(default=None, max_length=300)
    """At the foot of every e-mail, on one line."""
    email_templates_dir: Path | None = None
    """A folder whose templates and translations go before ours; see docs/email.md."""

    # Reminders
    reschedule_resend_threshold: Duration = timedelta(minutes=60)
    """How far a session must move so that a reminder already sent goes out once more."""
    notice_cooling_seconds: int = Field(default=120, ge=0, le=3600)
    """How long after a move its notice goes out: moves within that time become one notice, and a move
    that is undone none. Above about 2,600 enrollments it is longer, ten minutes at most, until all
    workflows have the new plan. Never more than a quarter of the time left. Cancellations are
    announced at once."""

    # Links in e-mails
    public_base_url: str | None = None
    """Where attendees reach the API, such as `https://reminders.example.org`; calendar and stop
    links are in e-mails only if it is set, together with `TOKEN_SECRET`."""
    token_secret: Secrets = ()
    """Signs those links: at least 32 random characters. Several, comma-separated, while rotating:
    the first signs, all are accepted."""
    token_valid_days: int = Field(default=365, ge=30)
    """How long after a session's start its links still open. At least 30: some laws require an
    unsubscribe link to work that long."""

    # HTTP API
    api_address: str = "127.0.0.1:8000"
    """Host and port to listen on."""
    forwarded_allow_ips: str = "127.0.0.1"
    """Addresses or networks of the proxies in front of the API, comma-separated: their
    `X-Forwarded-For`, `-Proto` and `-Prefix` count, and nobody else's."""
    api_keys: Secrets = ()
    """Comma-separated `name=sha256:<hex>`, made by `reminders api-key`, with `ro:` before those that may
    only read; plain keys work too, in `live` random ones of 20 characters or more. Without any, the
    API serves this machine only."""
    admin_username: str | None = None
    """Name to sign in with at `/admin`; needs `ADMIN_PASSWORD`."""
    admin_password: SecretStr | None = None
    """Password to sign in with, in `live` one that is not easily guessed. Changing it signs everybody
    out. Without it, see docs/admin.md."""
    temporal_ui_url: str | None = None
    """Where people reach the Temporal UI, for links."""

    # Monitoring
    metrics_address: str | None = None
    """Host and port where a worker serves `/metrics` and `/healthz`; port 0 is any free one."""
    otel_exporter_otlp_endpoint: str | None = None
    """Where traces go, such as `http://127.0.0.1:4318`; needs the extra `otel`."""
    log_format: Literal["json", "console"] = Field(
        default_factory=lambda: "console" if sys.stderr.isatty() else "json"
    )
    """By default `console` on a terminal, otherwise `json`."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @model_validator(mode="after")
    def _no_placeholders(self) -> Self:
        """Refuse secrets that are none, by the variable's name."""
        makes_one = "`reminders api-key NAME` makes a real one"
        for name, secret, remedy in (
            ("RESEND_API_KEY", self.resend_api_key, "set the real secret"),
            *(("API_KEYS", key, makes_one) for key in self.api_keys),
        ):
            if secret is not None and secret.get_secret_value().lower() in PLACEHOLDERS:
                raise ValueError(f"{name} is a placeholder; {remedy}")
        self.known_api_keys()
        if not all(is_webhook_secret(s.get_secret_value()) for s in self.resend_webhook_secret):
            raise ValueError(
                "RESEND_WEBHOOK_SECRET must be whsec_ followed by base64; copy it from"
                " https://resend.com/webhooks, several with commas between"
            )
        return self

    @model_validator(mode="after")
    def _live_is_complete(self) -> Self:
        """Refuse to write to attendees without what that needs."""
        if self.delivery_mode != "live":
            return self
        for name in ("resend_api_key", "email_from"):
            if getattr(self, name) is None:
                raise ValueError(f"{name.upper()} is required when DELIVERY_MODE=live")
        self._secrets_are_strong()
        if (self.email_from or "").rstrip("> ").endswith("@resend.dev"):
            raise ValueError(
                "EMAIL_FROM is at resend.dev, from where Resend writes to nobody but you;"
                " use a domain of yours when DELIVERY_MODE=live"
            )
        return self

    def _secrets_are_strong(self) -> None:
        """Refuse what could be guessed by whoever reaches the API."""
        plain = (s for s in self.api_keys if is_plain(s.get_secret_value()))
        if any(is_weak(key, shortest=20, fewest=8) for key in plain):
            raise ValueError(
                "API_KEYS has a plain key that can be guessed; `reminders api-key NAME` makes one,"
                " and the entry for API_KEYS, when DELIVERY_MODE=live"
            )
        password = self.admin_password
        # Sign-ins are rationed, so less is enough.
        if password is not None and is_weak(password, shortest=10, fewest=6):
            raise ValueError(
                "ADMIN_PASSWORD can be guessed; make one with `openssl rand -hex 12` when"
                " DELIVERY_MODE=live"
            )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        """Refuse what contradicts itself."""
        both_or_neither(ADMIN_USERNAME=self.admin_username, ADMIN_PASSWORD=self.admin_password)
        self._links_can_be_made()
        if self.email_max_backoff_ms < self.email_initial_backoff_ms:
            raise ValueError("EMAIL_MAX_BACKOFF_MS is less than EMAIL_INITIAL_BACKOFF_MS")
        if self.database_mode == "existing" and self.host_schema == "session_reminders":
            raise ValueError("HOST_SCHEMA is the schema of our own tables; name the platform's")
        return self

    def _links_can_be_made(self) -> None:
        """Refuse half of what links need, and what would not protect or not reach anybody."""
        both_or_neither(PUBLIC_BASE_URL=self.public_base_url, TOKEN_SECRET=self.token_secret)
        for secret in self.token_secret:
            if is_weak(secret, shortest=32, fewest=10):
                raise ValueError(
                    "TOKEN_SECRET is too weak; make one with:"
                    ' python -c "import secrets; print(secrets.token_urlsafe(32))"'
                )
        if self.public_base_url is None:
            return
        parts = urlsplit(self.public_base_url)
        host = parts.hostname or ""
        if not host or parts.scheme not in ("http", "https") or parts.query + parts.fragment:
            raise ValueError(
                "PUBLIC_BASE_URL is no web address; write for example https://reminders.example.org"
            )
        stays_here = is_loopback(host) and self.mails_to_a_stand_in()
        if self.delivery_mode == "live" and parts.scheme != "https" and not stays_here:
            raise ValueError("PUBLIC_BASE_URL must begin with https:// when DELIVERY_MODE=live")

    def known_api_keys(self) -> tuple[ApiKey, ...]:
        """The keys of `API_KEYS`.

        Raises:
            ValueError: If an entry is none; names the variable and not the entry.
        """
        try:
            return tuple(parse(entry.get_secret_value()) for entry in self.api_keys)
        except ValueError as error:
            raise ValueError(f"API_KEYS: {error}") from None

    def require_database_url(self) -> str:
        """The database, for everything that needs one.

        Raises:
            ConfigurationError: If it is not set.
        """
        if self.database_url is None:
            raise ConfigurationError(
                "DATABASE_URL is not set; for example postgresql://user:password@host/database"
            )
        return self.database_url.get_secret_value()

    def existing_host_schema(self) -> str | None:
        """Where an existing platform's relations are; `None` in owned mode."""
        return self.host_schema if self.database_mode == "existing" else None

    def mails_to_a_stand_in(self) -> bool:
        """Whether e-mails go no further than this machine."""
        return is_loopback(urlsplit(self.resend_api_url).hostname or "")

    def require_resend_api_key(self) -> str:
        """The provider's key.

        Raises:
            ConfigurationError: If it is not set and the provider is not on this machine.
        """
        if self.resend_api_key is not None:
            return self.resend_api_key.get_secret_value()
        if self.mails_to_a_stand_in():
            return "re_stand_in"
        raise ConfigurationError(
            "RESEND_API_KEY is not set; create one at https://resend.com/api-keys"
        )

    def require_envelope(self) -> tuple[str, str | None]:
        """Sender and, in `redirect` mode, the test recipient.

        Raises:
            ConfigurationError: If the test recipient is missing in `redirect` mode.
        """
        # Resend lets everybody send from this address to their own one, and to no other.
        sender = self.email_from or "Session Reminders <onboarding@resend.dev>"
        if self.delivery_mode == "live":
            return sender, None
        if self.verified_test_email is None:
            raise ConfigurationError(
                "VERIFIED_TEST_EMAIL is not set; DELIVERY_MODE=redirect sends everything there."
                " Set it, or DELIVERY_MODE=live to write to attendees"
            )
        return sender, self.verified_test_email

    def destination(self) -> Destination:
        """Where the e-mails of this process go, as requests that are stored remember it."""
        return Destination.of(self.delivery_mode, self.verified_test_email)

    def sender_fingerprint(self) -> str:
        """Tells apart what workers post as: key, sender and URL; it gives none of them away.

        Raises:
            ConfigurationError: As `require_resend_api_key` and `require_envelope`.
        """
        sender, _ = self.require_envelope()
        posts_as = ("session-reminders", self.require_resend_api_key(), sender, self.resend_api_url)
        return hashlib.sha256("\n".join(posts_as).encode()).hexdigest()[:8]

    def listen_on(self) -> tuple[str, int]:
        """Host and port of the API.

        Raises:
            ConfigurationError: If the address is none, or reaches beyond this machine without keys.
        """
        host, port = host_and_port("API_ADDRESS", self.api_address)
        if not self.api_keys and not is_loopback(host):
            raise ConfigurationError(
                "API_ADDRESS reaches beyond this machine; set API_KEYS, or listen on 127.0.0.1"
            )
        if not self.api_keys and self.delivery_mode == "live":
            raise ConfigurationError("API_KEYS is required when DELIVERY_MODE=live")
        return host, port

    def serve_metrics_on(self) -> tuple[str, int] | None:
        """Host and port of a worker's metrics; `None` if they are not wanted.

        Raises:
            ConfigurationError: If the address is none.
        """
        if self.metrics_address is None:
            return None
        return host_and_port("METRICS_ADDRESS", self.metrics_address)

    def doubts(self) -> tuple[tuple[str, str], ...]:
        """What is allowed and hardly meant, each with its remedy; the weightiest first."""
        is_live = self.delivery_mode == "live"
        no_url = urlsplit(self.temporal_ui_url or "http:").scheme not in ("http", "https")
        doubts = (
            (
                is_live and self.mails_to_a_stand_in(),
                "DELIVERY_MODE is live, and RESEND_API_URL is a stand-in on this machine",
                "unset RESEND_API_URL, or set DELIVERY_MODE=redirect",
            ),
            (
                self.shadow_mode,
                "SHADOW_MODE is on: reminders are planned, and nobody is sent any",
                "set SHADOW_MODE=false once the other system no longer sends",
            ),
            (
                is_live and not self.resend_webhook_secret,
                "DELIVERY_MODE is live without RESEND_WEBHOOK_SECRET: bounces are not seen",
                "create a webhook at https://resend.com/webhooks and set its secret",
            ),
            (no_url, "TEMPORAL_UI_URL is no URL", "write for example http://127.0.0.1:8233"),
        )
        return tuple((what, remedy) for is_so, what, remedy in doubts if is_so)


def load() -> Settings:
    """The settings of this process.

    Raises:
        ConfigurationError: If one is unusable; names the variable.
    """
    try:
        return Settings()
    except ValidationError as error:
        raise ConfigurationError(in_words(error)) from None
