"""What the system is meant to reach, and what was measured of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bench.crowd import LATENCY_MS
from bench.herd import OURS
from bench.measure import number
from bench.peers.catalogue import PEERS
from bench.report.extrapolation import BATCH
from bench.report.results import Result, subjects

Line = Mapping[str, Any]
"""What a benchmark found: its JSON line."""


@dataclass(frozen=True, slots=True)
class Goal:
    """One figure that is meant to be reached."""

    part: str
    what: str
    wanted: str
    value: Callable[[Line], float | int | None]
    """The figure, from what the part found."""
    is_enough: Callable[[float], bool]
    told: str = "{}"

    def measured(self, found: Mapping[str, Result]) -> tuple[str, bool | None]:
        """The figure in words, and whether it is enough; neither if it was not measured."""
        value = self.value(found[self.part].found) if self.part in found else None
        if value is None:
            return "not measured", None
        return self.told.format(number(value)), self.is_enough(value)


def at_most(limit: float) -> Callable[[float], bool]:
    """Enough if it is not larger."""
    return lambda value: value <= limit


def at_least(limit: float) -> Callable[[float], bool]:
    """Enough if it is not smaller."""
    return lambda value: value >= limit


def _plain(name: str) -> Callable[[Line], float | int | None]:
    return lambda line: subjects(line).get(OURS, {}).get(name)


def _wrong(line: Line) -> int:
    ours = subjects(line)[OURS]
    return int((ours["lost"] or 0) + (ours["duplicates"] or 0))


def _last(herd: Line, name: str = OURS) -> float:
    """Seconds after the due instant at which the last e-mail was accepted."""
    return float(subjects(herd)[name]["last_lag_s"] or 0)


def _beside_floor(herd: Line) -> float:
    """The last e-mail, beside when the provider can have taken it: so many requests each second."""
    seconds: int = (math.ceil(herd["n"] / BATCH) - 1) // herd["rate"]
    return _last(herd) / (seconds + LATENCY_MS / 1000)


def _beside_poller(herd: Line) -> float | None:
    return _last(herd) / _last(herd, "poller") if "poller" in subjects(herd) else None


def _beside_singles(herd: Line) -> float:
    """How many times faster than the best that one e-mail a request can be."""
    return float(herd["n"] / herd["rate"] / _last(herd))


def _beside_others(peers: Line) -> float:
    """How many times faster than the fastest of those that send one e-mail a request.

    Who did not send everything was not done when nobody waited any longer: that counts.
    """
    others = [
        max(_last(peers, name), peers["patience"]) if found["lost"] else _last(peers, name)
        for name, found in subjects(peers).items()
        if name != OURS and not PEERS[name].batches
    ]
    return float(min(others) / _last(peers))


def _gateway(enroll: Line) -> float:
    return float(enroll["subjects"]["gateway"]["ratio_to_bare"])


def _many(ratio: str) -> Callable[[Line], float | None]:
    return lambda enroll: enroll["subjects"].get("API, many a call", {}).get(ratio)


def _growth(sleep: Line) -> float | None:
    """The worker's memory with the most sleepers, beside that with the fewest."""
    fewest, *_, most = (subject["worker_mb"] for subject in sleep["subjects"].values())
    return float(most / fewest) if most and fewest else None


def _stored(sleep: Line) -> float:
    """Bytes of PostgreSQL for each enrollment, with the most sleepers."""
    *_, most = sleep["subjects"].values()
    return float(most["postgresql_bytes_each"])


def _slowest_page(admin: Line) -> float:
    """Milliseconds, in the median."""
    return float(max(value for name, value in admin.items() if name.endswith("p50 ms")))


GOALS = (
    Goal(
        "herd",
        "Big session, provider's limit: the last e-mail accepted",
        "1.5 times the provider's best",
        _beside_floor,
        at_most(1.5),
        "{} times",
    ),
    Goal(
        "thousands",
        "The same with ten thousand",
        "1.5 times",
        _beside_floor,
        at_most(1.5),
        "{} times",
    ),
    Goal(
        "thousands",
        "A small session in the middle of them: its last e-mail",
        "1 s after due",
        _plain("small_last_lag_s"),
        at_most(1),
        "{} s after",
    ),
    Goal(
        "single",
        "The same ten thousand with a single worker",
        "1.5 times",
        _beside_floor,
        at_most(1.5),
        "{} times",
    ),
    Goal(
        "single",
        "The small session in the middle of them",
        "1 s after due",
        _plain("small_last_lag_s"),
        at_most(1),
        "{} s after",
    ),
    Goal("herd", "The first", "not before due", _plain("first_lag_s"), at_least(0), "{} s after"),
    Goal(
        "herd",
        "Faster than one e-mail a request can be at best",
        "20 times",
        _beside_singles,
        at_least(20),
        "{} times",
    ),
    Goal(
        "herd",
        "Beside a poller that batches: the last e-mail",
        "1.2 times",
        _beside_poller,
        at_most(1.2),
        "{} times",
    ),
    Goal(
        "hundreds",
        "The same with five hundred",
        "1.2 times",
        _beside_poller,
        at_most(1.2),
        "{} times",
    ),
    Goal(
        "peers",
        "Faster than the fastest that was seen to send one e-mail a request",
        "20 times",
        _beside_others,
        at_least(20),
        "{} times",
    ),
    Goal("herd", "Lost or doubled", "none", _wrong, at_most(0)),
    Goal(
        "herd",
        "Requests for each 100 e-mails",
        "1.1",
        lambda herd: (subjects(herd)[OURS]["requests"] or 0) / herd["n"] * BATCH,
        at_most(1.1),
    ),
    Goal(
        "unlimited",
        "Without a limit, beside empty activities",
        "0.8",
        _plain("ratio"),
        at_least(0.8),
    ),
    Goal("crash", "Worker killed: lost or doubled", "none", _wrong, at_most(0)),
    Goal(
        "crash",
        "The last e-mail after the kill",
        "10 s",
        _plain("recovered_s"),
        at_most(10),
        "{} s",
    ),
    Goal("enroll", "Enrollments a second, beside bare starts", "0.6", _gateway, at_least(0.6)),
    Goal(
        "enroll",
        "Many in one call, beside bare starts",
        "0.9",
        _many("ratio_to_bare"),
        at_least(0.9),
    ),
    Goal(
        "enroll",
        "Many in one call, beside as many calls",
        "2 times",
        _many("ratio_to_single_calls"),
        at_least(2),
        "{} times",
    ),
    Goal("lag", "Lag when idle, p50", "60 ms", _plain("p50_ms"), at_most(60), "{} ms"),
    Goal("lag", "Lag when idle, p99", "140 ms", _plain("p99_ms"), at_most(140), "{} ms"),
    Goal(
        "change",
        "Ten thousand told of a move",
        "60 s",
        _plain("move_s"),
        at_most(60),
        "{} s",
    ),
    Goal(
        "sleep",
        "Worker's memory, with the most sleepers beside the fewest",
        "flat",
        _growth,
        at_most(1.25),
        "{} times",
    ),
    Goal(
        "sleep",
        "PostgreSQL for an enrollment with three reminders",
        "2 KB",
        _stored,
        at_most(2048),
        "{} bytes",
    ),
    Goal("history", "Events of three reminders", "38", _plain("events"), at_most(38)),
    Goal("history", "Their history", "5 KB", _plain("bytes"), at_most(5 * 1024), "{} bytes"),
    Goal("history", "Their billable actions", "7", _plain("billable_actions"), at_most(7)),
    Goal("admin", "The slowest admin page", "200 ms", _slowest_page, at_most(200), "{} ms"),
    Goal(
        "render",
        "E-mails composed on one core",
        "1,000/s",
        _plain("emails_per_cpu_second"),
        at_least(1000),
        "{}/s",
    ),
)
"""In the order of the report."""
