"""The connection to Temporal, configured as the `temporal` CLI is, and what its failures mean."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from enum import StrEnum
from typing import Any, TypeVar

from temporalio.api.enums.v1 import IndexedValueType, TaskQueueType
from temporalio.api.operatorservice.v1 import (
    AddSearchAttributesRequest,
    ListSearchAttributesRequest,
)
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import (
    DescribeNamespaceRequest,
    DescribeTaskQueueRequest,
    DescribeTaskQueueResponse,
)
from temporalio.client import (
    Client,
    Plugin,
    Schedule,
    ScheduleAlreadyRunningError,
    ScheduleDescription,
    ScheduleUpdate,
    ScheduleUpdateInput,
    WorkflowExecutionDescription,
)
from temporalio.common import SearchAttributeKey
from temporalio.envconfig import ClientConfig
from temporalio.runtime import Runtime
from temporalio.service import RPCError, RPCStatusCode

from reminders import budget
from reminders.domain.errors import ConfigurationError, TemporalUnavailableError

_T = TypeVar("_T")

SESSION_ID = SearchAttributeKey.for_keyword("SessionId")
USER_ID = SearchAttributeKey.for_keyword("UserId")
SESSION_START = SearchAttributeKey.for_datetime("SessionStart")
SEARCH_ATTRIBUTES = (SESSION_ID, USER_ID, SESSION_START)

_CONNECT_TIMEOUT = timedelta(seconds=5)
"""A server that accepts and never answers would hold up the first call of a lazy client."""

RPC_TIMEOUT = timedelta(seconds=10)
"""How long a call may take that waits for no worker."""

_AWAY = frozenset(
    {
        RPCStatusCode.UNAVAILABLE,
        RPCStatusCode.DEADLINE_EXCEEDED,
        RPCStatusCode.RESOURCE_EXHAUSTED,
        RPCStatusCode.CANCELLED,
        RPCStatusCode.UNKNOWN,
        RPCStatusCode.INTERNAL,
    }
)


SDK_EXIT_SECONDS = 0.3
"""A process that ends right after using a Temporal client aborts now and then: the SDK's threads
still reach for an interpreter that is gone (sdk-python#300). So it waits for them."""
STORED = (
    "now; what was asked for is stored and holds, workflows follow at the next sweep, and the same"
    " call may be repeated"
)
"""What to say while Temporal is away, where the ledger has a change that workflows have not."""
_TAKES_NO_MORE = (
    RPCStatusCode.INVALID_ARGUMENT,
    RPCStatusCode.FAILED_PRECONDITION,
)
"""What a server answers that has no room for another search attribute."""
_NO_NAMESPACE = b"NamespaceNotFoundFailure"
"""Names the detail of an error. The embedded server gives it too, now and then, when it is busy."""
_WORKERS_ANSWER = frozenset(
    {
        "update_workflow_execution",
        "poll_workflow_execution_update",
        "get_workflow_execution_history",
        "query_workflow",
    }
)
"""Calls that wait for a worker: their silence says nothing of Temporal."""


async def connect(
    plugins: Sequence[Plugin], *, lazy: bool = False, runtime: Runtime | None = None
) -> Client:
    """A client for the server that `TEMPORAL_ADDRESS`, `TEMPORAL_PROFILE` and so on name.

    Args:
        plugins: What client and workers share.
        lazy: Connect at the first call, so that the API starts without Temporal.
        runtime: With metrics, if they are wanted.

    Raises:
        ConfigurationError: If those variables, or the profile, cannot be used.
        TemporalUnavailableError: If the server does not answer (not when lazy).
    """
    try:
        config: dict[str, Any] = dict(
            ClientConfig.load_client_connect_config(config_file_strict=True)
        )
        config.setdefault("target_host", "localhost:7233")
        with unavailable(f"at {config['target_host']}; start it, or set TEMPORAL_ADDRESS"):
            client = await Client.connect(
                **config,
                plugins=plugins,
                lazy=lazy,
                runtime=runtime,
                connect_timeout=_CONNECT_TIMEOUT,
            )
    except (RuntimeError, OSError, ValueError) as error:  # an unknown profile, a missing file
        msg = f"the TEMPORAL_ variables or the profile cannot be used: {error}"
        raise ConfigurationError(msg) from error
    _share_budget(client)
    return client


def _share_budget(client: Client) -> None:
    """Let each call of a client wait no longer than the request that it is made for; see `budget`."""
    service = client.service_client
    sdk_call = service._rpc_call  # noqa: SLF001 - the one way that every call takes
    known: set[str] = set()  # namespaces that were there

    async def call(rpc: str, req: Any, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - the SDK's own
        """As the SDK; a namespace that was there, and is not any more, is a server that is not well.

        Taken for an answer, it would mean that there is no such workflow.
        """
        name = getattr(req, "namespace", "")
        try:
            answer = await sdk_call(rpc, req, *arguments, **options)
        except RPCError as error:
            if name in known and _NO_NAMESPACE in error.raw_grpc_status:
                raise RPCError(
                    error.message, RPCStatusCode.UNAVAILABLE, error.raw_grpc_status
                ) from error
            raise
        known.add(name)
        return answer

    async def bounded(rpc: str, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - the SDK's own
        if rpc in _WORKERS_ANSWER:
            return await call(rpc, *arguments, **options)
        try:
            async with budget.answer_of("Temporal"):
                try:
                    return await call(rpc, *arguments, **options)
                except RPCError as error:
                    if error.status in _AWAY:
                        raise TimeoutError from error
                    raise
        except TimeoutError as silence:
            if isinstance(silence.__cause__, RPCError):
                raise silence.__cause__ from None
            raise RPCError("no answer in time", RPCStatusCode.DEADLINE_EXCEEDED, b"") from None

    service._rpc_call = bounded  # type: ignore[method-assign]  # noqa: SLF001


@contextmanager
def unavailable(remedy: str | None = None) -> Iterator[None]:
    """Turn the ways in which a server can be away into one error; let real answers pass.

    Args:
        remedy: What to say behind "Temporal does not answer", instead of repeating the call.
    """
    away = (
        TemporalUnavailableError(f"Temporal does not answer {remedy}")
        if remedy
        else TemporalUnavailableError()
    )
    try:
        yield
    except TemporalUnavailableError as error:
        raise (away if remedy else error) from error.__cause__
    except RPCError as error:
        if error.status in _AWAY:
            raise away from error
        raise
    except RuntimeError as error:  # what the client raises when it cannot connect at all
        if "connect" in str(error).lower():
            raise away from error
        raise


async def if_there(answer: Awaitable[_T]) -> _T | None:
    """What the server answers; `None` if it has no such thing.

    Raises:
        TemporalUnavailableError: If the server does not answer.
    """
    try:
        with unavailable():
            return await answer
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return None


async def missing_search_attributes(client: Client) -> tuple[str, ...]:
    """Names of the search attributes that the namespace lacks.

    Raises:
        ConfigurationError: If it has one under such a name, and of another type.
        TemporalUnavailableError: If the server does not answer.
    """
    with unavailable():
        known = await client.operator_service.list_search_attributes(
            ListSearchAttributesRequest(namespace=client.namespace)
        )
    missing = []
    for key in SEARCH_ATTRIBUTES:
        wanted = IndexedValueType.ValueType(key.indexed_value_type)
        found = known.custom_attributes.get(key.name)
        if found is None:
            missing.append(key.name)
        elif found != wanted:
            msg = (
                f"namespace {client.namespace} has the search attribute {key.name} as"
                f" {_type_name(found)}, and {_type_name(wanted)} is needed; remove it with `temporal"
                f" operator search-attribute remove --name {key.name}` and run `reminders temporal"
                " setup`, or use a namespace of its own (TEMPORAL_NAMESPACE)"
            )
            raise ConfigurationError(msg)
    return tuple(missing)


def _type_name(kind: IndexedValueType.ValueType) -> str:
    """As the `temporal` command writes it."""
    words = IndexedValueType.Name(kind).removeprefix("INDEXED_VALUE_TYPE_").split("_")
    return "".join(word.capitalize() for word in words)


async def ensure_search_attributes(client: Client) -> tuple[str, ...]:
    """Register what is missing; safe to repeat.

    Returns:
        The names that were added.

    Raises:
        ConfigurationError: If one is there with another type, or the server takes no further one.
        TemporalUnavailableError: If the server does not answer.
    """
    missing = await missing_search_attributes(client)
    if missing:
        types = {
            k.name: IndexedValueType.ValueType(k.indexed_value_type)
            for k in SEARCH_ATTRIBUTES
            if k.name in missing
        }
        try:
            with unavailable():
                await client.operator_service.add_search_attributes(
                    AddSearchAttributesRequest(namespace=client.namespace, search_attributes=types)
                )
        except RPCError as error:
            if error.status not in _TAKES_NO_MORE:
                raise
            msg = (
                f"namespace {client.namespace} does not take the search attributes"
                f" {', '.join(missing)} ({error}); remove some that nobody needs (`temporal operator"
                " search-attribute list`), or use a namespace of its own (TEMPORAL_NAMESPACE)"
            )
            raise ConfigurationError(msg) from error
    return missing


async def retention(client: Client) -> timedelta:
    """How long the namespace keeps runs that have ended.

    Raises:
        TemporalUnavailableError: If the server does not answer.
    """
    with unavailable():
        found = await client.workflow_service.describe_namespace(
            DescribeNamespaceRequest(namespace=client.namespace), timeout=RPC_TIMEOUT
        )
    kept: timedelta = found.config.workflow_execution_retention_ttl.ToTimedelta()
    return kept


class Ensured(StrEnum):
    """What `ensure_schedule` did."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"


async def _as_compared(_: ScheduleDescription) -> bool:
    """Any Schedule may be changed, and is if it differs."""
    return False


async def ensure_schedule(
    client: Client,
    schedule_id: str,
    wanted: Schedule,
    *,
    look: Callable[[ScheduleDescription], Awaitable[bool]] = _as_compared,
) -> Ensured:
    """Create a Schedule, or make an existing one like this; safe to repeat, and all at once.

    An operator's pause and note are kept. The times are compared by the comment that this
    function leaves in them: the server turns cron expressions into calendars and keeps no copy.

    Args:
        client: Of the namespace.
        schedule_id: Its id.
        wanted: What it should be.
        look: Looks at an existing one: whether it is to be changed even if it seems the same.
            Raises if it is not to be touched.

    Raises:
        ConfigurationError: If the server cannot read the times.
        TemporalUnavailableError: If the server does not answer.
    """
    said = " | ".join(wanted.spec.cron_expressions)
    wanted = replace(
        wanted,
        spec=replace(
            wanted.spec, cron_expressions=[f"{c} #{c}" for c in wanted.spec.cron_expressions]
        ),
    )
    done = Ensured.UNCHANGED

    async def change(found: ScheduleUpdateInput) -> ScheduleUpdate | None:
        nonlocal done
        must = await look(found.description)
        present = found.description.schedule
        if not must and _comparable(present) == _comparable(wanted, said):
            return None
        done = Ensured.UPDATED
        return ScheduleUpdate(schedule=replace(wanted, state=present.state))

    try:
        with unavailable():
            try:
                await client.create_schedule(schedule_id, wanted, rpc_timeout=RPC_TIMEOUT)
            except ScheduleAlreadyRunningError:
                handle = client.get_schedule_handle(schedule_id)
                await handle.update(change, rpc_timeout=RPC_TIMEOUT)
                return done
    except RPCError as error:
        if error.status is not RPCStatusCode.INVALID_ARGUMENT:
            raise
        msg = (
            f"SWEEP_CRON is {said!r}, which Temporal cannot read as a cron expression;"
            " write for example */15 * * * *"
        )
        raise ConfigurationError(msg) from error
    return Ensured.CREATED


async def schedule(client: Client, schedule_id: str) -> ScheduleDescription | None:
    """A Schedule as the server has it; `None` if there is none.

    Raises:
        TemporalUnavailableError: If the server does not answer.
    """
    return await if_there(client.get_schedule_handle(schedule_id).describe(rpc_timeout=RPC_TIMEOUT))


async def described(
    client: Client,
    workflow_id: str,
    run_id: str | None = None,
    *,
    patience: timedelta = RPC_TIMEOUT,
) -> WorkflowExecutionDescription | None:
    """A workflow's run as the server has it, the newest unless another is named; `None` if it has none.

    Raises:
        TemporalUnavailableError: If the server does not answer.
    """
    handle = client.get_workflow_handle(workflow_id, run_id=run_id or None)
    return await if_there(handle.describe(rpc_timeout=patience))


async def pollers(
    client: Client,
    task_queue: str,
    kind: TaskQueueType.ValueType,
    *,
    patience: timedelta = RPC_TIMEOUT,
) -> DescribeTaskQueueResponse:
    """Who polls a task queue, and has done so within minutes.

    Raises:
        TemporalUnavailableError: If the server does not answer.
    """
    request = DescribeTaskQueueRequest(
        namespace=client.namespace, task_queue=TaskQueue(name=task_queue), task_queue_type=kind
    )
    with unavailable():
        return await client.workflow_service.describe_task_queue(request, timeout=patience)


def cron_of(schedule: Schedule) -> str:
    """The times that `ensure_schedule` left in a Schedule, as they were written; may be empty."""
    return " | ".join(c.comment or "" for c in schedule.spec.calendars)


def _comparable(schedule: Schedule, said: str | None = None) -> tuple[object, ...]:
    """What must agree; the server's copy says its times in the comments of its calendars."""
    if said is None:
        said = cron_of(schedule)
    action = schedule.action
    return (
        said,
        schedule.policy,
        *(
            getattr(action, name, None)
            for name in ("workflow", "id", "task_queue", "execution_timeout")
        ),
    )
