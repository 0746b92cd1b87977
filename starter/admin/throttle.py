"""How often somebody may try a password: each address for itself, and all of them together."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv6Address, ip_address, ip_network

FREE_TRIES = 5
"""Wrong passwords in a row that cost an address nothing but the next try."""
_FIRST_WAIT = timedelta(seconds=2)
LONGEST_WAIT = timedelta(minutes=15)
_FORGET = timedelta(hours=1)
"""An address is as good as new after so long without a wrong password."""
MOST_TOGETHER = 60
"""Wrong passwords from all addresses in a minute; beyond, only known addresses may try."""
_MINUTE = timedelta(minutes=1)
_MOST_ADDRESSES = 10_000
"""Remembered at once; the ones that failed longest ago are forgotten first."""


@dataclass(slots=True)
class _Record:
    failures: int
    last: datetime


class Throttle:
    """Counts wrong passwords in bounded memory."""

    def __init__(self) -> None:
        """Nobody has failed yet."""
        self._failed: OrderedDict[str, _Record] = OrderedDict()
        self._known: OrderedDict[str, None] = OrderedDict()
        self._together: deque[datetime] = deque(maxlen=MOST_TOGETHER)

    def wait(self, address: str, now: datetime) -> timedelta:
        """How long this address has to wait before its next try; zero if it need not."""
        network = _network(address)
        record = self._failed.get(network)
        wait = timedelta()
        if record is not None and now - record.last < _FORGET:
            beyond = record.failures - FREE_TRIES
            if beyond >= 0:
                pause = min(_FIRST_WAIT * 2 ** min(beyond, 20), LONGEST_WAIT)
                wait = record.last + pause - now
        if len(self._together) == MOST_TOGETHER and network not in self._known:
            wait = max(wait, self._together[0] + _MINUTE - now)
        return max(wait, timedelta())

    def failed(self, address: str, now: datetime) -> None:
        """A password was wrong."""
        network = _network(address)
        record = self._failed.pop(network, None)
        if record is None or now - record.last >= _FORGET:
            record = _Record(0, now)
        record.failures += 1
        record.last = now
        self._failed[network] = record
        if len(self._failed) > _MOST_ADDRESSES:
            self._failed.popitem(last=False)
        self._together.append(now)

    def succeeded(self, address: str) -> None:
        """A password was right."""
        network = _network(address)
        self._failed.pop(network, None)
        self._known[network] = None
        self._known.move_to_end(network)
        if len(self._known) > _MOST_ADDRESSES:
            self._known.popitem(last=False)


def _network(address: str) -> str:
    """The address, or the /64 of an IPv6 one: whoever has one of those has all of them."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        return str(ip_network((parsed, 64), strict=False))
    return address
