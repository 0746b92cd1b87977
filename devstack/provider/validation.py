"""What Resend accepts as an e-mail, and how it says no.

The first fault found is the one that is reported. Features that the stand-in does not have
(templates, scheduling) are refused by name: silently accepting them would be a lie.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pydantic_core import from_json

from devstack.provider.exchange import ApiError

MAX_BATCH = 100
"""E-mails a request (send-batch-emails)."""
MAX_TO = 50
"""Recipients in `to` (send-email)."""
MAX_TAGS = 75
"""Tags an e-mail (dashboard/emails/tags)."""
MAX_TAG = 256
"""Characters of a tag's name and of its value."""
MAX_ADDRESS = 320
"""Characters; RFC 5321 §4.5.3.1: 64 before the @, 255 after it."""

# Seven bits only: what is behind Resend refuses others. Labels are bounded, so that no
# address can make the pattern backtrack for long.
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_SPEC = r"[!#$%&'*+/=?^_`{|}~.A-Za-z0-9-]{1,64}@(?:" + _LABEL + r"\.)+" + _LABEL
_NAME = r"(?:\"(?:[^\"\\\r\n]|\\[^\r\n])*\"\s*|[^<>\r\n]*)"
_ADDRESS = re.compile(rf"(?:{_NAME}<\s*({_SPEC})\s*>|({_SPEC}))\s*")
_TAG = re.compile(r"[A-Za-z0-9_-]+")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~A-Za-z0-9-]+")
_FAKE_DOMAINS = ("@example.com", "@test.com")
_UNSUPPORTED = ("template", "scheduled_at")


# Not frozen: made by the hundred in a request, and freezing doubles the cost of making one.
@dataclass(slots=True)
class Mail:
    """A valid e-mail of a request."""

    position: int
    """Its index in the request, from 0."""
    sender: str
    to: list[str]
    cc: list[str]
    bcc: list[str]
    reply_to: list[str]
    subject: str
    headers: dict[str, str]
    tags: list[dict[str, str]]
    addresses: list[str]
    """Bare, lower-case addresses of everybody it goes to; each counts against the quota."""


def parse(body: bytes) -> object:
    """The JSON of a request body."""
    try:
        parsed: object = from_json(body)
    except ValueError:
        raise ApiError(400, "validation_error", "The request body is not valid JSON.") from None
    return parsed


def parse_email(body: bytes, *, allow_example: bool) -> Mail:
    """The e-mail of `POST /emails`; raises `ApiError` with the first fault."""
    return _mail(parse(body), 0, allow_example=allow_example, batch=False)


def parse_batch(
    body: bytes, *, permissive: bool, allow_example: bool
) -> tuple[list[Mail], list[dict[str, object]]]:
    """The e-mails of `POST /emails/batch`.

    Returns:
        Those that may be sent, and why the others may not: `{"index", "message"}`, ascending,
        always empty in strict mode.

    Raises:
        ApiError: If the request is no batch or, in strict mode, with the first fault of any e-mail.
    """
    content = parse(body)
    if not isinstance(content, list):
        raise _invalid("The request body must be an array of emails.")
    if not content:
        raise _invalid("The batch must contain at least one email.")
    if len(content) > MAX_BATCH:
        raise _invalid(f"The batch must contain at most {MAX_BATCH} emails.")
    mails: list[Mail] = []
    errors: list[dict[str, object]] = []
    for position, item in enumerate(content):
        try:
            mails.append(_mail(item, position, allow_example=allow_example, batch=True))
        except ApiError as error:
            if not permissive:
                raise
            errors.append({"index": position, "message": error.message})
    return mails, errors


def _mail(item: object, position: int, *, allow_example: bool, batch: bool) -> Mail:
    if not isinstance(item, dict):
        raise _invalid("Each email must be an object.")
    for name in _UNSUPPORTED:
        if item.get(name) is not None:
            raise _invalid(f"The `{name}` field is not supported by the stand-in.")
    if batch and item.get("attachments"):
        raise _invalid("The `attachments` field is not supported in batches.")
    sender = item.get("from")
    if sender is None:
        raise _missing("from")
    _bare(sender, "from")
    to, cc, bcc = (_addresses(item, name) for name in ("to", "cc", "bcc"))
    mail = Mail(
        position=position,
        sender=sender,
        to=to,
        cc=cc,
        bcc=bcc,
        addresses=_recipients(to, cc, bcc, allow_example=allow_example),
        reply_to=_addresses(item, "reply_to"),
        subject=_subject(item),
        headers=_headers(item.get("headers")),
        tags=_tags(item.get("tags")),
    )
    for address in mail.reply_to:
        _bare(address, "reply_to")
    return mail


def _recipients(to: list[str], cc: list[str], bcc: list[str], *, allow_example: bool) -> list[str]:
    """Bare, lower-case addresses of everybody."""
    if not to:
        raise _missing("to")
    if len(to) > MAX_TO:
        raise _invalid(f"Invalid `to` field. It must contain at most {MAX_TO} recipients.")
    addresses = [_bare(address, "to") for address in to]
    addresses += [_bare(address, "cc") for address in cc]
    addresses += [_bare(address, "bcc") for address in bcc]
    if not allow_example and any(address.endswith(_FAKE_DOMAINS) for address in addresses):
        raise _invalid(
            "Invalid `to` field. Please use our testing email address instead of domains like "
            "`example.com`."
        )
    return addresses


def _subject(item: dict[str, object]) -> str:
    """The subject, once there is also something to put below it."""
    subject = item.get("subject")
    if subject is None:
        raise _missing("subject")
    if not isinstance(subject, str):
        raise _invalid("Invalid `subject` field. It must be a string.")
    html, text = item.get("html"), item.get("text")
    if html is None and text is None:
        raise ApiError(422, "missing_required_field", "Missing `html` or `text` field.")
    if not isinstance(html, str | None) or not isinstance(text, str | None):
        raise _invalid("Invalid `html` or `text` field. It must be a string.")
    return subject


def _addresses(item: dict[str, object], name: str) -> list[str]:
    """A field that holds one address or a list of them, as a list."""
    value = item.get(name)
    if value is None:
        return []
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return value
    raise _invalid_address(name)


def _bare(address: object, name: str) -> str:
    """`a@b` of `Name <A@b>`, in lower case."""
    if isinstance(address, str):
        match = _ADDRESS.fullmatch(address) if len(address) <= 2 * MAX_ADDRESS else None
        if match is not None:
            return (match[1] or match[2]).lower()
    raise _invalid_address(name)


def _headers(value: object) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _invalid("Invalid `headers` field. It must be an object.")
    for name, content in value.items():
        if not _HEADER_NAME.fullmatch(name):
            raise _invalid("Invalid `headers` field. A name is not a valid header name.")
        if not isinstance(content, str):
            raise _invalid("Invalid `headers` field. Its values must be strings.")
    return value


def _tags(value: object) -> list[dict[str, str]]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise _invalid("Invalid `tags` field. It must be an array.")
    if len(value) > MAX_TAGS:
        raise _invalid(f"Invalid `tags` field. It must contain at most {MAX_TAGS} tags.")
    for tag in value:
        if not isinstance(tag, dict):
            raise _invalid("Invalid `tags` field. Each tag must have a `name` and a `value`.")
        for part in (tag.get("name"), tag.get("value")):
            if not isinstance(part, str):
                raise _invalid("Invalid `tags` field. Each tag must have a `name` and a `value`.")
            if len(part) > MAX_TAG:
                raise _invalid(f"Tags should have at most {MAX_TAG} characters.")
            if not _TAG.fullmatch(part):
                raise _invalid(
                    "Tags should only contain ASCII letters, numbers, underscores, or dashes."
                )
    return value


def _invalid(message: str) -> ApiError:
    return ApiError(422, "validation_error", message)


def _invalid_address(name: str) -> ApiError:
    return _invalid(
        f"Invalid `{name}` field. The email address needs to follow the `email@example.com` "
        "or `Name <email@example.com>` format."
    )


def _missing(name: str) -> ApiError:
    return ApiError(422, "missing_required_field", f"The `{name}` field is missing.")
