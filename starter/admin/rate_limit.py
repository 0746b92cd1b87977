"""How often somebody may try a password: each address for itself, and all of them together."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from ipaddress import IPv6Address, ip_address, ip_network
from typing import TypeVar

_T = TypeVar("_T")

FREE_TRIES = 5
"""Wrong passwords in a row after which an address need not wait."""
_FIRST_WAIT = timedelta(seconds=2)
LONGEST_WAIT = timedelta(minutes=15)
_FORGET = timedelta(hours=1)
"""An address is as good as new after so long without a wrong password."""
MOST_TOGETHER = 60
"""Wrong passwords from all addresses in a minute; beyond, only known addresses may try."""
_MINUTE = timedelta(minutes=1)
_MOST_ADDRESSES = 10_000
"""Remembered at once; the ones that failed longest ago are forgotten first."""


@dataclass(frozen=True, slots=True)
class SignInRateLimit:
    """Counts wrong passwords in bounded memory."""

    _failures: dict[str, tuple[int, datetime]] = field(default_factory=dict)
    """Wrong passwords in a row, and the instant of the last one, by network."""
    _known: dict[str, None] = field(default_factory=dict)
    """Networks from which somebody has signed in."""
    _recent: deque[datetime] = field(default_factory=lambda: deque(maxlen=MOST_TOGETHER))

    def wait(self, address: str, now: datetime) -> timedelta:
        """How long this address has to wait before its next try; zero if it need not."""
        network = _network(address)
        count, last = self._counted(network, now)
        wait = timedelta()
        if count >= FREE_TRIES:
            pause = min(_FIRST_WAIT * 2 ** min(count - FREE_TRIES, 20), LONGEST_WAIT)
            wait = last + pause - now
        if len(self._recent) == MOST_TOGETHER and network not in self._known:
            wait = max(wait, self._recent[0] + _MINUTE - now)
        return max(wait, timedelta())

    def failed(self, address: str, now: datetime) -> None:
        """A password was wrong."""
        network = _network(address)
        count, _ = self._counted(network, now)
        _put_last(self._failures, network, (count + 1, now))
        self._recent.append(now)

    def succeeded(self, address: str) -> None:
        """A password was right."""
        network = _network(address)
        self._failures.pop(network, None)
        _put_last(self._known, network, None)

    def _counted(self, network: str, now: datetime) -> tuple[int, datetime]:
        count, last = self._failures.get(network, (0, now))
        return (count, last) if now - last < _FORGET else (0, now)


def _put_last(found: dict[str, _T], network: str, value: _T) -> None:
    found.pop(network, None)
    found[network] = value
    if len(found) > _MOST_ADDRESSES:
        del found[next(iter(found))]


def _network(address: str) -> str:
    """The address, or the /64 of an IPv6 one: whoever has one of those has all of them."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        return str(ip_network((parsed, 64), strict=False))
    return address
