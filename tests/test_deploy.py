"""Do the files under deploy/ fit the program: its settings, commands, ports, metrics, and each other?"""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from ruamel.yaml import YAML

from sentinai.cli.main import app
from sentinai.observability.metrics import CONSUMER_LAG
from sentinai.settings import FREE_PREFIXES, PREFIX, Settings, load_settings, variable_of
from sentinai.workers.catalog import BY_NAME, STAGES
from sentinai.workers.health import health_app

REPOSITORY = Path(__file__).parents[1]
DEPLOY = REPOSITORY / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
FILES = sorted(p for p in DEPLOY.rglob("*") if p.is_file())
YAMLS = [p for p in FILES if p.suffix == ".yaml"]
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
PROBES = ("startupProbe", "livenessProbe", "readinessProbe")
HEALTH_PATHS = {getattr(route, "path", "") for route in health_app(lambda: True).routes}


def _name(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def _documents(path: Path) -> list[dict[str, Any]]:
    return list(YAML(typ="safe").load_all(path.read_text()))


def _objects(kind: str) -> list[dict[str, Any]]:
    return [o for p in YAMLS if p.is_relative_to(KUBERNETES) for o in _documents(p) if o["kind"] == kind]


DEPLOYMENTS = _objects("Deployment")
PODS = {o["metadata"]["name"]: o["spec"]["template"] for o in [*DEPLOYMENTS, *_objects("Job")]} | {
    o["metadata"]["name"]: o["spec"]["jobTemplate"]["spec"]["template"] for o in _objects("CronJob")
}
ONCE = (["migrate"], ["retention", "run"])
"""Commands that end by themselves."""
COMPOSE = _documents(DEPLOY / "compose.yaml")[0]
OWN_SERVICES = {n: s for n, s in COMPOSE["services"].items() if s["image"].startswith("sentinai:")}


def _selected(labels: dict[str, str]) -> list[str]:
    return [n for n, pod in PODS.items() if labels.items() <= pod["metadata"]["labels"].items()]


def _commands() -> Iterator[tuple[str, list[str]]]:
    """All command lines that are given to `sentinai`, with the place they stand."""
    for name, pod in PODS.items():
        for container in pod["spec"]["containers"]:
            assert "command" not in container, "the image's entry point is sentinai"
            yield f"kubernetes {name}", container["args"]
    for name, service in OWN_SERVICES.items():
        assert "entrypoint" not in service
        yield f"compose {name}", service["command"]
    for unit in UNITS:
        (line,) = re.findall(r"^ExecStart=\S+/sentinai (.*)$", unit.read_text(), re.M)
        yield unit.name, line.split()


COMMANDS = dict(_commands())


def _health_port(arguments: list[str]) -> int:
    if arguments[0] == "api":
        return Settings.model_fields["api_port"].default
    return BY_NAME[(arguments[1:] or STAGES)[0]].health_port


def test_everything_asked_for_is_there() -> None:
    assert {p.name for p in UNITS} == {
        f"sentinai-{n}.service" for n in ("api", "migrate", "relay", "retention", "worker@")
    }
    assert set(PODS) == {f"sentinai-{n}" for n in ("api", "migrate", "relay", "retention", "workers")}
    assert set(OWN_SERVICES) == {"api", "migrate", "relay", "worker"}


@pytest.mark.parametrize("path", YAMLS, ids=_name)
def test_a_file_is_yaml_with_every_key_once(path: Path) -> None:
    assert all(isinstance(document, dict) for document in _documents(path))


@pytest.mark.parametrize("path", [*FILES, REPOSITORY / "docs" / "deployment.md"], ids=_name)
def test_every_variable_is_a_setting(path: Path) -> None:
    known = {variable_of(field) for field in Settings.model_fields}
    named = set(re.findall(rf"\b{PREFIX}[A-Z0-9_]+", path.read_text()))
    assert {n for n in named if n not in known and not n.startswith(FREE_PREFIXES)} == set()


def _environments() -> dict[str, dict[str, str]]:
    image = dict(re.findall(rf"\b({PREFIX}\w+)=(\S+)", (DEPLOY / "Dockerfile").read_text()))
    base, secret, kafka = (
        _documents(KUBERNETES / p)[0] for p in ("base/config.yaml", "base/secret.example.yaml", "kafka/config.yaml")
    )
    plain = image | base["data"] | secret["stringData"]
    found = {"kubernetes": plain, "kubernetes with kafka": plain | kafka["data"]}
    found |= {f"compose {n}": image | s["environment"] for n, s in OWN_SERVICES.items()}
    example = (DEPLOY / "systemd" / "sentinai.env.example").read_text()
    found["systemd"] = dict(re.findall(rf"^(?:# )?({PREFIX}\w+)=(.*)$", example, re.M))
    return found


@pytest.mark.parametrize(("place", "variables"), _environments().items(), ids=_environments())
def test_the_program_takes_the_values(
    place: str, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in [n for n in os.environ if n.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    for name, value in variables.items():
        assert isinstance(value, str), f"{name} has to be quoted"
        monkeypatch.setenv(name, value)
    settings = load_settings(tmp_path / "none")
    assert settings.database_url
    if place != "systemd":
        assert (settings.api_host, settings.worker_health_host) == ("0.0.0.0", "0.0.0.0")


@pytest.mark.parametrize("place", COMMANDS)
def test_every_command_exists(place: str) -> None:
    name, *arguments = COMMANDS[place]
    commands: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    context = commands[name].make_context(name, list(arguments))
    assert set(context.params.get("names") or ()) <= set(BY_NAME)


def test_the_image_runs_the_program_as_nobody_special() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    last = text[text.rindex("\nFROM ") :]
    assert json.loads(re.findall(r"^ENTRYPOINT (.*)$", last, re.M)[0]) == ["sentinai"]
    uid = re.findall(r"^USER (\d+):", last, re.M)[0]
    assert {pod["spec"]["securityContext"]["runAsUser"] for pod in PODS.values()} == {int(uid)}
    assert all("--no-dev" in line for line in text.splitlines() if "uv sync" in line)
    assert "HEALTHCHECK" not in text
    exposed = {int(port) for port in re.findall(r"^EXPOSE (.*)$", last, re.M)[0].split()}
    assert exposed == {_health_port(a) for a in COMMANDS.values() if a not in ONCE}


def test_the_image_gets_what_it_copies_and_nothing_else() -> None:
    copied = re.findall(r"^COPY (?!--)(.*) \S+$", (DEPLOY / "Dockerfile").read_text(), re.M)
    allowed = re.findall(r"^!(.*)$", (DEPLOY / "Dockerfile.dockerignore").read_text(), re.M)
    assert sorted(" ".join(copied).split()) == sorted(allowed)
    assert all((REPOSITORY / name).exists() for name in allowed)


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda d: d["metadata"]["name"])
def test_a_deployment_is_probed_on_its_health_port(deployment: dict[str, Any]) -> None:
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    ports = {p["name"]: p["containerPort"] for p in container["ports"]}
    for probe in PROBES:
        request = container[probe]["httpGet"]
        assert ports[request["port"]] == _health_port(container["args"])
        assert request["path"] in HEALTH_PATHS
    assert container["readinessProbe"]["httpGet"]["path"] == "/health/ready"
    assert container["livenessProbe"]["httpGet"]["path"] == "/health/live", (
        "a database that is away is no reason to kill"
    )
    annotations = deployment["spec"]["template"]["metadata"]["annotations"]
    assert int(annotations["prometheus.io/port"]) in ports.values()
    assert annotations["prometheus.io/path"] in HEALTH_PATHS


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda d: d["metadata"]["name"])
def test_a_deployment_selects_its_own_pods_and_has_a_disruption_budget(deployment: dict[str, Any]) -> None:
    name = deployment["metadata"]["name"]
    assert _selected(deployment["spec"]["selector"]["matchLabels"]) == [name]
    budgets = [_selected(b["spec"]["selector"]["matchLabels"]) for b in _objects("PodDisruptionBudget")]
    assert budgets.count([name]) == 1
    assert len(budgets) == len(DEPLOYMENTS)


@pytest.mark.parametrize("service", _objects("Service"), ids=lambda s: s["metadata"]["name"])
def test_a_service_leads_to_a_declared_port(service: dict[str, Any]) -> None:
    (name,) = _selected(service["spec"]["selector"])
    (container,) = PODS[name]["spec"]["containers"]
    assert {p["targetPort"] for p in service["spec"]["ports"]} <= {p["name"] for p in container["ports"]}


@pytest.mark.parametrize("name", PODS)
def test_a_pod_may_do_little_and_is_not_given_variables_of_services(name: str) -> None:
    spec = PODS[name]["spec"]
    assert spec["enableServiceLinks"] is False, "SENTINAI_API_PORT=tcp://… would stop the start"
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    (container,) = spec["containers"]
    allowed = container["securityContext"]
    assert (allowed["allowPrivilegeEscalation"], allowed["readOnlyRootFilesystem"]) == (False, True)
    assert allowed["capabilities"] == {"drop": ["ALL"]}
    assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
    assert "memory" in container["resources"]["limits"]
    sources = [next(iter(s.values()))["name"] for s in container["envFrom"]]
    assert sources == [o["metadata"]["name"] for o in (_objects("ConfigMap")[0], *_objects("Secret"))]


def test_a_stop_has_the_time_it_needs() -> None:
    grace = float(_documents(KUBERNETES / "base" / "config.yaml")[0]["data"]["SENTINAI_SHUTDOWN_GRACE_S"])
    spec = PODS["sentinai-api"]["spec"]
    waited = float(spec["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    assert spec["terminationGracePeriodSeconds"] > grace + waited
    assert all(pod["spec"]["terminationGracePeriodSeconds"] > grace for pod in PODS.values())


def test_the_autoscaler_knows_its_deployment_and_metric() -> None:
    (scaler,) = _objects("HorizontalPodAutoscaler")
    target = scaler["spec"]["scaleTargetRef"]["name"]
    (deployment,) = [d for d in DEPLOYMENTS if d["metadata"]["name"] == target]
    assert "replicas" not in deployment["spec"], "every apply would undo what the autoscaler decided"
    (metric,) = scaler["spec"]["metrics"]
    assert metric["type"] == "External", "every pod reports the whole lag: an average of pods would not sink"
    (described,) = CONSUMER_LAG.describe()
    assert metric["external"]["metric"]["name"] == described.name


@pytest.mark.parametrize("folder", ["base", "kafka"])
def test_a_kustomization_names_every_file(folder: str) -> None:
    (found,) = _documents(KUBERNETES / folder / "kustomization.yaml")
    named = {r for r in found["resources"] if r.endswith(".yaml")} | {p["path"] for p in found.get("patches", [])}
    there = {p.name for p in (KUBERNETES / folder).glob("*.yaml")}
    assert there - named == {"kustomization.yaml"} | ({"secret.example.yaml"} if folder == "base" else set())
    assert named <= there
    assert all((KUBERNETES / folder / r).exists() for r in found["resources"])


def test_compose_waits_for_what_can_be_waited_for() -> None:
    services = COMPOSE["services"]
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert "healthcheck" in services[other]
            else:
                assert (how["condition"], other) == ("service_completed_successfully", "migrate")
        assert "healthcheck" in service or name == "migrate"
        assert {v.split(":")[0] for v in service.get("volumes", [])} <= set(COMPOSE["volumes"])
        if name in OWN_SERVICES and name != "migrate":
            assert f":{_health_port(service['command'])}/health/ready" in service["healthcheck"]["test"][-1]
            assert "migrate" in service["depends_on"]


@pytest.mark.parametrize("unit", UNITS, ids=_name)
def test_a_unit_is_migrated_before_and_hardened(unit: Path) -> None:
    lines = unit.read_text().splitlines()
    wanted = {"DynamicUser=yes", "NoNewPrivileges=yes", "ProtectSystem=strict", "CapabilityBoundingSet="}
    assert wanted <= set(lines)
    timer = unit.with_suffix(".timer")
    if timer.exists():
        assert {"[Timer]", "Persistent=true", "WantedBy=timers.target"} <= set(timer.read_text().splitlines())
    elif unit.name != "sentinai-migrate.service":
        assert {"Restart=always", "[Install]"} <= set(lines)
    if unit.name != "sentinai-migrate.service":
        assert all("sentinai-migrate.service" in line for line in lines if line.startswith(("After=", "Wants=")))


def test_ten_worker_processes_have_ten_health_ports() -> None:
    text = (DEPLOY / "systemd" / "sentinai-worker@.service").read_text()
    (template,) = re.findall(rf"^Environment={variable_of('worker_health_base_port')}=(.*)$", text, re.M)
    ports = {
        int(template.replace("%i", str(i))) + entry.health_port - 9000 for i in range(10) for entry in BY_NAME.values()
    }
    assert len(ports) == 10 * len(BY_NAME)
