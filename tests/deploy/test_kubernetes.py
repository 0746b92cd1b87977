"""The manifests are what Kubernetes accepts, and agree with the program and with each other."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import kubernetes_validate
import pytest
import yaml
from temporalio.common import WorkerDeploymentVersion
from temporalio.envconfig import ClientConfig

import worker
from reminders.domain.keys import TASK_QUEUE
from reminders.settings import Settings
from tests.deploy.prometheus import ROOT, RULES, alerts

FOLDER = ROOT / "deploy" / "kubernetes"
TEMPORALS_OWN = "TEMPORAL_"
NOT_KUBERNETES = {
    "Component",
    "Connection",
    "Kustomization",
    "ScaledObject",
    "ServiceMonitor",
    "WorkerDeployment",
}
"""Kinds whose schemas come with their operators; their fields are compared by hand below."""
PATCHES = {"certificate.yaml"}
KUBECTL = shutil.which("kubectl")


EGRESS = "session-reminders-egress"


@cache
def documents() -> list[tuple[str, dict[str, Any]]]:
    """Every manifest, with its file's name."""
    return [
        (file.name, document)
        for file in sorted(FOLDER.rglob("*.yaml"))
        for document in yaml.load_all(file.read_text(encoding="utf-8"), yaml.CSafeLoader)
        if "kind" in document
    ]


def of_kind(kind: str) -> dict[str, dict[str, Any]]:
    """Manifests of a kind, by name; without patches."""
    return {
        document["metadata"]["name"]: document
        for file, document in documents()
        if document["kind"] == kind and file not in PATCHES
    }


def pods() -> list[tuple[str, dict[str, Any]]]:
    """Every pod's specification, by the name of what makes it."""
    return [
        (name, owner["spec"]["template"]["spec"])
        for kind in ("Deployment", "Job", "WorkerDeployment")
        for name, owner in of_kind(kind).items()
    ]


@pytest.mark.parametrize(
    ("file", "document"),
    documents(),
    ids=[f"{file}-{document['kind']}" for file, document in documents()],
)
def test_kubernetes_accepts_it(file: str, document: dict[str, Any]) -> None:
    """Its own schemas, strictly: an unknown field is a typo."""
    if document["kind"] in NOT_KUBERNETES or file in PATCHES:
        assert {"apiVersion", "kind"} <= document.keys()
        return
    kubernetes_validate.validate(document, "1.37", strict=True)


def test_kustomize_has_all_of_it() -> None:
    """Every file beside the kustomization is one of its resources, and every resource is there."""
    kustomization = yaml.safe_load((FOLDER / "kustomization.yaml").read_text(encoding="utf-8"))
    there = {file.name for file in FOLDER.glob("*.yaml")} - {"kustomization.yaml"}
    assert there == set(kustomization["resources"])


def test_every_setting_exists() -> None:
    """What the manifests set is a setting of ours or one of Temporal's own."""
    lines = (FOLDER / "settings.env").read_text(encoding="utf-8").splitlines()
    named = {line.partition("=")[0] for line in lines}
    for _, document in documents():
        spec = document.get("spec", {}).get("template", {}).get("spec", {})
        for container in spec.get("containers", []):
            named |= {variable["name"] for variable in container.get("env", [])}
    ours = {name.upper() for name in Settings.model_fields}
    assert set() == {n for n in named - ours if not n.startswith(TEMPORALS_OWN)}


def test_a_worker_may_finish_what_is_in_flight() -> None:
    """Its pod is killed later than it gives itself, and one of several always works."""
    spec = of_kind("Deployment")["worker"]["spec"]
    grace = spec["template"]["spec"]["terminationGracePeriodSeconds"]
    assert grace > worker.GRACEFUL_SHUTDOWN.total_seconds() + 5
    assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert of_kind("PodDisruptionBudget")["worker"]["spec"]["minAvailable"] == 1
    assert of_kind("HorizontalPodAutoscaler")["worker"]["spec"]["minReplicas"] >= spec["replicas"]
    assert of_kind("ScaledObject")["worker"]["spec"]["minReplicaCount"] >= spec["replicas"]


@pytest.mark.parametrize("name", ["api", "worker"])
def test_a_node_can_be_drained(name: str) -> None:
    """One of several may go, on nodes apart where there are several; what never became ready may always."""
    deployment = of_kind("Deployment")[name]["spec"]
    budget = of_kind("PodDisruptionBudget")[name]["spec"]
    assert 1 == budget["minAvailable"] < deployment["replicas"]
    assert "AlwaysAllow" == budget["unhealthyPodEvictionPolicy"]
    (spread,) = deployment["template"]["spec"]["topologySpreadConstraints"]
    assert "kubernetes.io/hostname" == spread["topologyKey"]
    labels = deployment["template"]["metadata"]["labels"]
    assert labels == spread["labelSelector"]["matchLabels"] == deployment["selector"]["matchLabels"]


def test_nothing_is_restarted_while_it_starts_or_because_another_part_is_away() -> None:
    """Two minutes to start; then the process is asked whether it answers, and nothing else."""
    for name, owner in of_kind("Deployment").items():
        (container,) = owner["spec"]["template"]["spec"]["containers"]
        probes = {key: value for key, value in container.items() if key.endswith("Probe")}
        assert {"startupProbe", "livenessProbe"} <= probes.keys()
        assert {"/healthz"} == {probe["httpGet"]["path"] for probe in probes.values()}, name
        start = probes["startupProbe"]
        assert 120 == start["periodSeconds"] * start["failureThreshold"]


def test_keda_asks_for_our_task_queue() -> None:
    """A typo would scale by a queue that nobody uses."""
    (trigger,) = of_kind("ScaledObject")["worker"]["spec"]["triggers"]
    assert ("temporal", TASK_QUEUE) == (trigger["type"], trigger["metadata"]["taskQueue"])


def test_the_controller_starts_the_same_workers() -> None:
    """Only who makes the pods differs, so that budget, Service and monitor find them all the same."""
    controlled = of_kind("WorkerDeployment")["worker"]["spec"]
    assert of_kind("Deployment")["worker"]["spec"]["template"] == controlled["template"]
    assert {"replicas", "rollout", "sunset", "template", "workerOptions"} == controlled.keys()
    options = controlled["workerOptions"]
    assert {"connectionRef", "temporalNamespace"} == options.keys()
    connection = of_kind("Connection")[options["connectionRef"]["name"]]["spec"]
    lines = (FOLDER / "settings.env").read_text(encoding="utf-8").splitlines()
    assert f"TEMPORAL_ADDRESS={connection['hostPort']}" in lines
    assert f"TEMPORAL_NAMESPACE={options['temporalNamespace']}" in lines
    rollout = controlled["rollout"]
    assert "Progressive" == rollout["strategy"]
    shares = [step["rampPercentage"] for step in rollout["steps"]]
    assert sorted(shares) == shares
    assert 0 < shares[0] <= shares[-1] < 100


def built_with(
    tmp_path: Path, *components: str, overlay: str | None = None
) -> dict[tuple[str, str], dict[str, Any]]:
    """What Kustomize makes of an overlay, or of one with these examples, by kind and name."""
    # Kustomize wants relative paths, and bases that are not around the overlay.
    folder = tmp_path / "overlay"
    folder.mkdir()
    shutil.copytree(FOLDER, tmp_path / "base")
    named = ", ".join(f"../base/examples/{name}" for name in components)
    text = overlay or f"resources: [../base]\ncomponents: [{named}]\n"
    (folder / "kustomization.yaml").write_text(text)
    done = subprocess.run(
        [KUBECTL or "", "kustomize", folder], capture_output=True, text=True, check=True
    )
    return {(d["kind"], d["metadata"]["name"]): d for d in yaml.safe_load_all(done.stdout)}


@pytest.mark.skipif(KUBECTL is None, reason="no `kubectl` here")
def test_the_overlay_of_the_handbook_says_which_image_and_settings(tmp_path: Path) -> None:
    """Copied from docs/operations.md: every container has the image, and all settings are merged."""
    handbook = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    (overlay,) = re.findall(r"```yaml\n# kustomization.yaml\n(.*?)```", handbook, re.DOTALL)
    built = built_with(tmp_path, overlay=overlay.replace("[deploy/kubernetes]", "[../base]"))
    images = {
        container["image"]
        for document in built.values()
        if "template" in document.get("spec", {})
        for pod in (document["spec"]["template"]["spec"],)
        for container in [*pod.get("initContainers", []), *pod["containers"]]
    }
    assert {"registry.example.org/session-reminders:1.0.0"} == images
    (settings,) = (d["data"] for (kind, _), d in built.items() if kind == "ConfigMap")
    assert {"VERIFIED_TEST_EMAIL", "DELIVERY_MODE"} <= settings.keys()


@pytest.mark.skipif(KUBECTL is None, reason="no `kubectl` here")
def test_an_overlay_for_temporal_cloud_can_be_built(tmp_path: Path) -> None:
    """Whatever speaks with Temporal has the certificate, where it is told to look for it."""
    built = built_with(tmp_path, "temporal-cloud")
    for owner, speaks in (
        (("Deployment", "worker"), "worker"),
        (("Deployment", "api"), "api"),
        (("Job", "migrate"), "temporal"),
    ):
        kubernetes_validate.validate(built[owner], "1.37", strict=True)
        pod = built[owner]["spec"]["template"]["spec"]
        (container,) = (c for c in pod["containers"] if c["name"] == speaks)
        told = {v["name"]: v["value"] for v in container["env"]}
        folder = container["volumeMounts"][0]["mountPath"]
        assert f"{folder}/tls.crt" == told["TEMPORAL_TLS_CLIENT_CERT_PATH"]
        assert f"{folder}/tls.key" == told["TEMPORAL_TLS_CLIENT_KEY_PATH"]
        (volume,) = pod["volumes"]
        assert ("temporal-cloud", 0o440) == (
            volume["secret"]["secretName"],
            volume["secret"]["defaultMode"],
        )
        assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsUser"]


@pytest.mark.skipif(KUBECTL is None, reason="no `kubectl` here")
def test_both_components_can_be_used_together(tmp_path: Path) -> None:
    """In the order that the example says: the API has the certificate, the controller the workers."""
    built = built_with(tmp_path, "temporal-cloud", "worker-controller")
    assert ("Deployment", "worker") not in built
    (api,) = built["Deployment", "api"]["spec"]["template"]["spec"]["containers"]
    assert "tls" in {mount["name"] for mount in api["volumeMounts"]}


@pytest.mark.skipif(KUBECTL is None, reason="no `kubectl` here")
def test_an_overlay_with_the_controller_can_be_built(tmp_path: Path) -> None:
    """Kustomize takes the Deployment away, and gives the workers the ConfigMap that it makes."""
    built = built_with(tmp_path, "worker-controller")
    assert ("Deployment", "api") in built
    assert ("Deployment", "worker") not in built
    (settings,) = (name for kind, name in built if kind == "ConfigMap")
    made = built["WorkerDeployment", "worker"]
    (container,) = made["spec"]["template"]["spec"]["containers"]
    assert {"configMapRef": {"name": settings}} in container["envFrom"]
    (other,) = built["Deployment", "api"]["spec"]["template"]["spec"]["containers"]
    assert other["image"] == container["image"]
    assert built["Connection", "temporal"]["metadata"]["namespace"] == "session-reminders"


def test_a_worker_is_the_version_that_the_controller_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Deployment, build and connection are read from the variables that it sets."""
    key, certificate = tmp_path / "tls.key", tmp_path / "tls.crt"
    key.write_bytes(b"key")
    certificate.write_bytes(b"certificate")
    for name, value in {
        "TEMPORAL_ADDRESS": "temporal-frontend.temporal:7233",
        "TEMPORAL_NAMESPACE": "reminders",
        "TEMPORAL_DEPLOYMENT_NAME": "session-reminders/worker",
        "TEMPORAL_WORKER_BUILD_ID": "1.0.0-5f9c",
        "TEMPORAL_TLS": "true",
        "TEMPORAL_TLS_CLIENT_KEY_PATH": str(key),
        "TEMPORAL_TLS_CLIENT_CERT_PATH": str(certificate),
    }.items():
        monkeypatch.setenv(name, value)
    version = worker.deployment(Settings())
    assert WorkerDeploymentVersion("session-reminders/worker", "1.0.0-5f9c") == version.version
    assert version.use_worker_versioning
    connection: dict[str, Any] = dict(ClientConfig.load_client_connect_config())
    assert "temporal-frontend.temporal:7233" == connection["target_host"]
    assert "reminders" == connection["namespace"]
    assert (b"key", b"certificate") == (
        connection["tls"].client_private_key,
        connection["tls"].client_cert,
    )


@pytest.mark.parametrize(("name", "pod"), pods(), ids=[name for name, _ in pods()])
def test_every_pod_has_as_few_rights_as_it_needs(name: str, pod: dict[str, Any]) -> None:
    """Not root, nothing writable, no capability, no token of the cluster; memory is bounded."""
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert "RuntimeDefault" == pod["securityContext"]["seccompProfile"]["type"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        rights = container["securityContext"]
        assert rights["readOnlyRootFilesystem"] is True
        assert rights["allowPrivilegeEscalation"] is False
        assert rights["capabilities"] == {"drop": ["ALL"]}
        assert "memory" in container["resources"]["limits"]


def test_everything_is_found_by_what_looks_for_it() -> None:
    """Services, budgets and the monitor select labels, and ports, that pods and Services have."""
    labels = {
        name: owner["spec"]["template"]["metadata"]["labels"]
        for name, owner in of_kind("Deployment").items()
    }
    ports = {
        port["name"]
        for _, pod in pods()
        for container in pod["containers"]
        for port in container.get("ports", [])
    }
    for name, service in of_kind("Service").items():
        assert service["spec"]["selector"].items() <= labels[name].items()
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    for name, budget in of_kind("PodDisruptionBudget").items():
        assert budget["spec"]["selector"]["matchLabels"].items() <= labels[name].items()
    monitor = of_kind("ServiceMonitor")["reminders"]["spec"]
    for service in of_kind("Service").values():
        wanted = monitor["selector"]["matchLabels"].items()
        assert wanted <= service["metadata"]["labels"].items()
    offered = {p["name"] for s in of_kind("Service").values() for p in s["spec"]["ports"]}
    assert {endpoint["port"] for endpoint in monitor["endpoints"]} == offered


def test_the_monitor_names_jobs_as_alerts_and_dashboard_know_them() -> None:
    """By itself a job would be called as its Service, and no alert would notice that it is down."""
    config = yaml.safe_load((RULES.with_name("prometheus.yml")).read_text(encoding="utf-8"))
    monitor = of_kind("ServiceMonitor")["reminders"]["spec"]
    named = [rule for endpoint in monitor["endpoints"] for rule in endpoint["relabelings"]]
    assert {"job"} == {rule["targetLabel"] for rule in named}
    assert {job["job_name"] for job in config["scrape_configs"]} == {
        rule["replacement"] for rule in named
    }
    assert 'job=~"reminders.*"' in alerts()["RemindersTargetDown"]["expr"]


def test_the_alert_rules_are_a_manifest_as_well() -> None:
    """The script prints all of them, as the Prometheus Operator wants them."""
    script = FOLDER / "examples" / "prometheus-rule.sh"
    done = subprocess.run(["sh", script], capture_output=True, text=True, check=True)
    rule = yaml.safe_load(done.stdout)
    assert ("monitoring.coreos.com/v1", "PrometheusRule") == (rule["apiVersion"], rule["kind"])
    assert yaml.safe_load(RULES.read_text(encoding="utf-8")) == rule["spec"]


def test_nobody_else_comes_in_and_whom_we_need_can_be_asked() -> None:
    """Ports of the policies are those that pods offer, and those where PostgreSQL and all others answer."""
    policies = of_kind("NetworkPolicy")
    offered = {
        port["containerPort"]
        for _, pod in pods()
        for container in pod["containers"]
        for port in container.get("ports", [])
    }
    assert offered == {
        port["port"]
        for rule in policies["session-reminders"]["spec"]["ingress"]
        for port in rule["ports"]
    }
    config = dict(
        line.split("=") for line in (FOLDER / "settings.env").read_text(encoding="utf-8").split()
    )
    temporal = int(config["TEMPORAL_ADDRESS"].rpartition(":")[2])
    provider = urlsplit(Settings.model_fields["resend_api_url"].default)
    assert "https" == provider.scheme
    asked = {
        (port["protocol"], port["port"])
        for rule in policies[EGRESS]["spec"]["egress"]
        for port in rule["ports"]
    }
    assert {("UDP", 53), ("TCP", 53), ("TCP", 5432), ("TCP", temporal), ("TCP", 443)} == asked
    for policy in policies.values():
        chosen = policy["spec"]["podSelector"]["matchLabels"].items()
        for kind in ("Deployment", "Job", "WorkerDeployment"):
            for owner in of_kind(kind).values():
                assert chosen <= owner["spec"]["template"]["metadata"]["labels"].items()


def test_the_commands_exist() -> None:
    """Every container runs one of `reminders ...`."""
    from typer.main import get_command  # noqa: PLC0415 - slow to import

    from starter.cli import main as cli  # noqa: PLC0415

    known = set(get_command(cli.app).commands)  # type: ignore[attr-defined]  # a group
    for _, pod in pods():
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            assert container["command"][0] == "reminders"
            assert container["command"][1] in known
