"""The trial without a registry starts the compose file itself, changed only where it says so."""

from __future__ import annotations

import pytest

from deploy import try_compose
from tests.test_compose import services


@pytest.mark.parametrize("names", try_compose.STACKS.values(), ids=list(try_compose.STACKS))
def test_services_are_started_as_the_file_has_them(names: tuple[str, ...]) -> None:
    """Commands, rights, health checks and what waits for what are the file's own."""
    tried = try_compose.adapted(names)["services"]
    assert list(names) == list(tried)
    for name, service in tried.items():
        written = services()[name]
        assert {"ports", "build", "profiles"}.isdisjoint(service)
        assert service["image"].startswith(try_compose.PROJECT)
        same = ["restart", "read_only", "cap_drop", "security_opt", "stop_grace_period", "tmpfs"]
        same += ["entrypoint", "healthcheck", *([] if name == "temporal" else ["command"])]
        assert [written.get(key) for key in same] == [service.get(key) for key in same]
        assert service["depends_on"].items() <= written.get("depends_on", {}).items()
        assert set(written.get("depends_on", {})) - set(service["depends_on"]) <= {
            "temporal-schema"
        }


def test_every_service_of_ours_is_tried() -> None:
    """What is left out is of images that cannot be made of packages, and the script says so."""
    tried = {name for names in try_compose.STACKS.values() for name in names}
    left_out = {"temporal-schema", "temporal-ui", "grafana"}
    assert set(services()) - tried == left_out
    assert all(f"`{name}`" in (try_compose.__doc__ or "") for name in left_out)
