"""The files in deploy/ and the Dockerfile: they parse, agree with the project's versions and hold no secret."""

import configparser
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).parents[2]
DEPLOY = PROJECT / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
SECRETS = ("POSTGRES_PASSWORD", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "OPENAI_API_KEY")


def _read(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text(encoding="utf-8"))


def test_every_service_starts_again_and_has_a_health_check():
    services = _read("compose.yaml")["services"]
    assert set(services) == {"postgres", "s3", "bucket", "code", "web", "daemon"}
    lasting = {name: service for name, service in services.items() if name != "bucket"}
    assert all(service["restart"] == "unless-stopped" and service["healthcheck"] for service in lasting.values())


def test_only_this_machine_reaches_the_web_server_and_nothing_else():
    services = _read("compose.yaml")["services"]
    assert {name: one["ports"] for name, one in services.items() if "ports" in one} == {"web": ["127.0.0.1:3000:3000"]}


def test_secrets_come_from_the_environment():
    for service in _read("compose.yaml")["services"].values():
        for name in SECRETS:
            assert service.get("environment", {}).get(name, "${").startswith("${"), name
    empty = dict(line.split("=", 1) for line in (DEPLOY / ".env.example").read_text().splitlines() if line[0] != "#")
    assert [empty[name] for name in SECRETS] == [""] * len(SECRETS)
    values = _read("helm/values.yaml")
    (code,) = values["dagster-user-deployments"]["deployments"]
    assert not {one["name"] for one in code["env"]} & set(SECRETS)
    assert code["envSecrets"] == [{"name": "embedllm"}]


def test_containers_and_the_machine_have_the_same_queue_as_the_local_deployment():
    local, deployed = yaml.safe_load((PROJECT / "dagster.yaml").read_text(encoding="utf-8")), _read("dagster.yaml")
    for name in ("concurrency", "run_coordinator", "run_monitoring", "sensors", "schedules", "retention", "telemetry"):
        assert deployed[name] == local[name], name


def test_the_registry_is_a_config_map_that_runs_see_too():
    (code,) = _read("helm/values.yaml")["dagster-user-deployments"]["deployments"]
    assert code["includeConfigInLaunchedRuns"] == {"enabled": True}
    assert {"name": "registry", "configMap": {"name": "embedllm-registry"}} in code["volumes"]
    where = {mount["name"]: mount["mountPath"] for mount in code["volumeMounts"]}
    env = {one["name"]: one["value"] for one in code["env"]}
    assert (env["EMBEDLLM_REGISTRY"], env["EMBEDLLM_HOME"]) == (where["registry"], where["data"])


def test_the_image_has_the_versions_that_were_tested():
    text = (PROJECT / "Dockerfile").read_text(encoding="utf-8")
    pins = dict(re.findall(r"^([\w-]+)==(\S+)$", (PROJECT / "constraints.txt").read_text(), re.MULTILINE))
    assert f"ARG TORCH={pins['torch']}\n" in text
    patch = pins["dagster"].rpartition(".")[2]
    assert {version.rpartition(".")[2] for version in re.findall(r"dagster-\w+==(\S+)", text)} == {patch}
    assert re.search(r"^USER 1000:1000$", text, re.MULTILINE)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_starts_again_with_few_rights(unit):
    parsed = configparser.ConfigParser(interpolation=None)
    parsed.optionxform = str  # pyright: ignore[reportAttributeAccessIssue]
    parsed.read(unit)
    service = parsed["Service"]
    assert service["Restart"] == "on-failure"
    assert service["User"] == "embedllm"
    assert service["NoNewPrivileges"] == "true"
    assert service["EnvironmentFile"]
    assert "0.0.0.0" not in service["ExecStart"]
