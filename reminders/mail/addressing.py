"""Who gets the e-mail: the delivery mode and the check of addresses."""

from __future__ import annotations

from email.utils import parseaddr
from enum import StrEnum

from email_validator import validate_email

from reminders.domain.addresses import visible
from reminders.domain.delivery_errors import InvalidAddressError
from reminders.mail.plain_text import is_one_line


class DeliveryMode(StrEnum):
    """Whether attendees get their e-mails."""

    REDIRECT = "redirect"
    """Everything goes to one verified test address, and the subject says for whom it was."""
    LIVE = "live"
    """Attendees get their e-mails."""


def deliverable_address(text: str) -> str:
    """The one bare address in `text`, as the provider is to get it.

    Syntax only: whether anybody reads it is for the provider to find out. International domains are
    written in their ASCII form. Reserved domains of test systems (`.test`, `localhost`) pass, and
    `.invalid` does not: platforms park the addresses of deleted people there. About 15 µs.

    Raises:
        InvalidAddressError: If it is none, or several, or carries a display name.
    """
    candidate = visible(text)
    is_localhost = is_local(candidate)
    local, _, _ = candidate.rpartition("@")
    checked = f"{local}@localhost.test" if is_localhost else candidate
    try:
        # `test_environment` lets `.test` pass; everything else stays as strict as ever.
        valid = validate_email(checked, check_deliverability=False, test_environment=True)
    except Exception:  # noqa: BLE001 - whatever the libraries below make of it, it is no address
        # The validator's message quotes the address; ours may end up in a history.
        raise InvalidAddressError from None
    return candidate if is_localhost else valid.ascii_email or valid.normalized


def is_local(address: str) -> bool:
    """Whether an address is of the sending machine itself, where no provider delivers."""
    _, at, domain = address.strip().lower().rpartition("@")
    return bool(at) and (domain == "localhost" or domain.endswith(".localhost"))


def is_mailbox(text: str) -> bool:
    """Whether `text` is `address` or `Name <address>` on one line: good for From and Reply-To."""
    try:
        _, address = parseaddr(text)
    except RecursionError:  # of comments within comments
        return False
    if not is_one_line(text) or not text.rstrip(">").endswith(address):
        return False
    try:
        deliverable_address(address)
    except InvalidAddressError:
        return False
    return True
