"""Which build of the workers the sleeping enrollments have met last."""

from __future__ import annotations

from collections import Counter

from pydantic import BaseModel
from temporalio.client import Client  # noqa: TID251 - asks the visibility store, like the gateway
from temporalio.common import SearchAttributeKey, TypedSearchAttributes
from temporalio.service import RPCError

from reminders.errors import TemporalUnavailableError
from reminders.temporal import unavailable

LARGEST_COUNT = 100_000
"""Workflows that are looked at: a thousand a call."""
NOT_STARTED = "none yet"
"""No worker has picked it up so far."""

_PAGE = 1000
_SLEEPING = "WorkflowType = 'SessionReminderWorkflow' AND ExecutionStatus = 'Running'"
_BUILD_IDS = SearchAttributeKey.for_keyword_list("BuildIds")
_VERSION = SearchAttributeKey.for_keyword("TemporalWorkerDeploymentVersion")
_UNVERSIONED = "unversioned:"


class Build(BaseModel):
    """How many enrollments a build has been the last to wake."""

    build: str
    """`deployment:build` of a versioned worker, else the build id alone, or `NOT_STARTED`."""
    is_versioned: bool
    sleepers: int


class Builds(BaseModel):
    """All builds that still have sleepers, those with most of them first."""

    builds: list[Build]
    is_complete: bool
    """False when there are more than `LARGEST_COUNT` sleepers: the counts are of a part then."""


async def sleepers(client: Client, *, limit: int = LARGEST_COUNT) -> Builds:
    """Count the running enrollments by the newest build that has run them.

    Temporal lists a workflow under every build that ran it, in the order of the first time. After
    a rollback the build it came from is therefore still the one that is named.

    Args:
        client: For the namespace.
        limit: Workflows that are looked at, at the most.

    Raises:
        TemporalUnavailableError: If Temporal does not answer.
    """
    counts: Counter[tuple[str, bool]] = Counter()
    seen = 0
    try:
        with unavailable():
            async for found in client.list_workflows(_SLEEPING, page_size=_PAGE, limit=limit + 1):
                seen += 1
                if seen <= limit:
                    counts[_newest(found.typed_search_attributes)] += 1
    except RPCError as error:
        raise TemporalUnavailableError from error
    return Builds(
        builds=[
            Build(build=build, is_versioned=versioned, sleepers=count)
            for (build, versioned), count in counts.most_common()
        ],
        is_complete=seen <= limit,
    )


def _newest(attributes: TypedSearchAttributes) -> tuple[str, bool]:
    """The newest build, and whether Temporal routes by it."""
    version = attributes.get(_VERSION)
    if version:
        return version, True
    named = [b for b in attributes.get(_BUILD_IDS) or () if b.startswith(_UNVERSIONED)]
    return (named[-1].removeprefix(_UNVERSIONED), False) if named else (NOT_STARTED, False)
