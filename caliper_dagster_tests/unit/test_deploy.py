"""What ``deploy`` holds: every name in it is one that is documented, and every program is there.

With ``CALIPER_TEST_HELM_SCHEMA``, the path of the official chart's ``values.schema.json``, the
values are checked against that too.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from caliper_dagster.config.settings import setting_names
from caliper_dagster.dagster.instance.celery_launcher import CeleryRunLauncher
from caliper_dagster.dagster.instance.open import open_instance
from caliper_dagster.dagster.tags import SITE_TAG
from caliper_dagster_tests.harness.environment import environment
from caliper_dagster_tests.harness.paths import ROOT

DEPLOY = ROOT / "deploy"
PROGRAMS = Path(sys.executable).parent
BESIDE = re.compile(r"^(AWS_[A-Z_]+|DAGSTER_[A-Z_]+|POSTGRES_[A-Z]+|CELERY_BROKER_URL|PYTHONPATH)$")

SERVICE_KEYS = set(
    "image build env_file environment volumes restart command depends_on healthcheck ports "
    "profiles user stop_grace_period security_opt cap_drop cap_add read_only tmpfs".split()
)
"""Of https://github.com/compose-spec/compose-spec, what is used here."""

PROBE = {"enabled", "periodSeconds", "timeoutSeconds", "failureThreshold"}
SECURITY = {
    "runAsNonRoot": None,
    "runAsUser": None,
    "readOnlyRootFilesystem": None,
    "allowPrivilegeEscalation": None,
    "capabilities": {"drop"},
    "seccompProfile": {"type"},
}
MOUNTS: dict[str, Any] = {
    "volumes": {"name", "emptyDir"},
    "volumeMounts": {"name", "mountPath"},
}
POD: dict[str, Any] = {
    "securityContext": SECURITY,
    **MOUNTS,
    "image": {"repository", "tag", "pullPolicy"},
    "resources": {"requests": {"cpu", "memory"}, "limits": {"memory"}},
}
VALUES: dict[str, Any] = {
    "generatePostgresqlPasswordSecret": None,
    "global": {"postgresqlSecretName"},
    "postgresql": {
        "enabled": None,
        "postgresqlScheme": None,
        "postgresqlHost": None,
        "postgresqlUsername": None,
        "postgresqlDatabase": None,
        "service": {"port"},
    },
    "additionalInstanceConfig": None,
    "dagsterWebserver": {"replicaCount": None, **POD},
    "dagster-user-deployments": {
        "enabled": None,
        "deployments": {
            "name": None,
            "codeServerArgs": None,
            "port": None,
            "envConfigMaps": {"name"},
            "envSecrets": {"name"},
            "includeConfigInLaunchedRuns": {"enabled"},
            "readinessProbe": PROBE,
            "livenessProbe": PROBE,
            "startupProbe": PROBE,
            **POD,
        },
    },
    "runLauncher": {
        "type": None,
        "config": {
            "k8sRunLauncher": {
                "imagePullPolicy": None,
                "envConfigMaps": {"name"},
                "envSecrets": {"name"},
                "failPodOnRunFailure": None,
                **MOUNTS,
                "runK8sConfig": {
                    "containerConfig": {
                        "resources": POD["resources"],
                        "securityContext": SECURITY,
                    },
                    "podSpecConfig": {"terminationGracePeriodSeconds"},
                    "jobSpecConfig": {"ttlSecondsAfterFinished"},
                },
            }
        },
    },
    "dagsterDaemon": {
        "enabled": None,
        "runMonitoring": {
            "enabled",
            "startTimeoutSeconds",
            "pollIntervalSeconds",
            "maxResumeRunAttempts",
            "freeSlotsAfterRunEndSeconds",
        },
        "runRetries": {"enabled", "maxRetries", "retryOnAssetOrOpFailure"},
        "sensors": {"useThreads", "numWorkers"},
        **POD,
    },
    "concurrency": {
        "enabled": None,
        "runs": {
            "maxConcurrentRuns": None,
            "tagConcurrencyLimits": {
                "key": None,
                "value": {"applyLimitPerUniqueValue"},
                "limit": None,
            },
        },
        "pools": {"defaultLimit"},
    },
    "computeLogManager": {"type"},
    "pythonLogs": {"pythonLogLevel"},
    "telemetry": {"enabled"},
    "migrate": {"enabled"},
}
"""The keys that are used, as the documentation of the chart has them; None: a value of its own."""

CHART = "1.13.27"
"""The version of Dagster's Helm chart that has these keys."""


def loaded(path: str) -> Any:
    return yaml.safe_load((DEPLOY / path).read_text(encoding="utf-8"))


def unknown(given: Any, known: Any, place: str = "") -> Iterator[str]:
    for part in given if isinstance(given, list) else [given]:
        if known is None or not isinstance(part, dict):
            continue
        for key, value in part.items():
            if key not in known:
                yield f"{place}{key}"
            elif isinstance(known, dict):
                yield from unknown(value, known[key], f"{place}{key}.")


def assert_programs(commands: list[str]) -> None:
    ours = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    for command in set(commands) - set(ours["project"]["scripts"]):
        assert (PROGRAMS / command).exists() or shutil.which(command), command


def test_the_values_hold_only_keys_of_the_chart() -> None:
    values = loaded("kubernetes/values.yaml")
    assert list(unknown(values, VALUES)) == []
    assert list(unknown({"concurrency": {"runs": {"most": 1}}}, VALUES)) == [
        "concurrency.runs.most"
    ]


def test_the_values_are_valid_by_the_schema_of_the_chart() -> None:
    schema = os.environ.get("CALIPER_TEST_HELM_SCHEMA")
    if not schema:
        pytest.skip("CALIPER_TEST_HELM_SCHEMA does not name the chart's values.schema.json")
    # The values are laid over the chart's own, which have what is required.
    relaxed = re.sub(r'"required": \[[^]]*\],?', "", Path(schema).read_text(encoding="utf-8"))
    jsonschema.validate(loaded("kubernetes/values.yaml"), json.loads(relaxed))


def test_the_chart_that_is_installed_is_the_one_whose_keys_are_known() -> None:
    text = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    assert re.findall(r"helm upgrade .*--version (\S+)", text) == [CHART]


def test_the_settings_are_settings() -> None:
    given = {
        name
        for document in yaml.safe_load_all((DEPLOY / "kubernetes/settings.yaml").read_text())
        for name in document.get("data", {}) | document.get("stringData", {})
    }
    given |= set(
        re.findall(r"^(?:# )?([A-Z_]+)=", (DEPLOY / "compose/env.example").read_text(), re.M)
    )
    for service in loaded("compose/compose.yaml")["services"].values():
        given |= set(service.get("environment", {}))
    ours = {*setting_names(), "postgresql-password"}
    assert {name for name in given - ours if not BESIDE.match(name)} == set()


def test_the_compose_file_holds_only_documented_keys() -> None:
    file = loaded("compose/compose.yaml")
    assert set(file) == {"name", "x-project", "services", "volumes"}
    for name, service in file["services"].items():
        assert set(service) <= SERVICE_KEYS, name
        assert set(service.get("depends_on", {})) <= set(file["services"])
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in file["volumes"] or (DEPLOY / "compose" / source).exists(), volume
    ours = [s for s in file["services"].values() if s["image"] == "caliper-dagster:1"]
    assert_programs([service["command"][0] for service in ours])


def test_the_image_installs_what_there_is() -> None:
    text = (DEPLOY / "Containerfile").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (extras,) = re.findall(r"^ARG EXTRAS=(.*)$", text, re.M)
    assert set(extras.split(",")) <= set(project["optional-dependencies"])
    copied = re.findall(r"^COPY (?!--)(.*) \S+$", text, re.M)
    assert [name for line in copied for name in line.split() if not (ROOT / name).exists()] == []


def test_the_units_are_ones_that_systemd_takes(tmp_path: Path) -> None:
    units = sorted((DEPLOY / "systemd").glob("*.[st][ea]r[vg]*"))
    assert len(units) == 6
    for unit in units:
        text = unit.read_text(encoding="utf-8")
        commands = re.findall(r"^ExecStart=/opt/caliper-dagster/bin/(\S+)", text, re.M)
        assert_programs(commands)
        for command in commands:
            (tmp_path / command).touch(0o755)
        (tmp_path / unit.name).write_text(text.replace("/opt/caliper-dagster/bin", str(tmp_path)))
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed here")
    instances = [unit.name.replace("@.", "@hour.") for unit in units]
    found = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *instances],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    ours = [line for line in found.stderr.splitlines() if "caliper-dagster" in line]
    assert (found.returncode, ours) == (0, []), found.stderr


def test_the_units_are_hardened(tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed here")
    for unit in (DEPLOY / "systemd").glob("*.service"):
        text = unit.read_text(encoding="utf-8")
        assert "\nUMask=0077\n" in text
        copy = tmp_path / unit.name.replace("@.", "@hour.")
        copy.write_text(text)
        found = subprocess.run(
            ["systemd-analyze", "security", "--offline=yes", "--threshold=29", str(copy)],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert found.returncode == 0, found.stdout[-300:]


def test_containers_have_no_privileges() -> None:
    for name, service in loaded("compose/compose.yaml")["services"].items():
        assert service["security_opt"] == ["no-new-privileges:true"], name
        if service["image"] == "caliper-dagster:1" and name != "folder":
            assert service["cap_drop"] == ["ALL"], name
            assert service["read_only"] is True, name
    values = loaded("kubernetes/values.yaml")
    launcher = values["runLauncher"]["config"]["k8sRunLauncher"]
    contexts = [
        values["dagsterWebserver"]["securityContext"],
        values["dagsterDaemon"]["securityContext"],
        values["dagster-user-deployments"]["deployments"][0]["securityContext"],
        launcher["runK8sConfig"]["containerConfig"]["securityContext"],
    ]
    for context in contexts:
        assert set(context) == set(SECURITY)


def test_passwords_and_keys_are_given_to_the_code_server_only() -> None:
    """Runs and sensors are its processes."""
    given = {
        name: (bool(service.get("env_file")), set(service["environment"]))
        for name, service in loaded("compose/compose.yaml")["services"].items()
        if service["image"] == "caliper-dagster:1" and "environment" in service
    }
    assert given == {
        "code": (True, {"DAGSTER_POSTGRES_URL", "CALIPER_LEDGER_URL", "CALIPER_STORAGE"}),
        "webserver": (False, {"DAGSTER_POSTGRES_URL"}),
        "daemon": (False, {"DAGSTER_POSTGRES_URL"}),
        "sample": (False, set()),
        "event-store": (False, set()),
    }


def test_the_configuration_of_celery_is_one_that_dagster_takes(tmp_path: Path) -> None:
    shutil.copy(DEPLOY / "celery" / "dagster.yaml", tmp_path)
    broker = {"DAGSTER_HOME": str(tmp_path), "CELERY_BROKER_URL": "redis://127.0.0.1:9/0"}
    with environment(broker), open_instance() as instance:
        assert isinstance(instance.run_launcher, CeleryRunLauncher)
        assert instance.run_launcher.default_queue == "backfill"
        assert instance.run_monitoring_enabled
        assert instance.get_settings("run_monitoring")["max_runtime_seconds"] == 86_400
        assert instance.run_retries_enabled
        limits = instance.get_concurrency_config().run_queue_config
        assert limits is not None
        assert limits.max_concurrent_runs == 5


def places() -> Iterator[tuple[int, dict[str, dict[str, Any]], int]]:
    """Of each configuration: runs at once, their limits by tag, places in a pool."""
    chart = loaded("kubernetes/values.yaml")["concurrency"]
    runs = chart["runs"]
    found = [
        (runs["maxConcurrentRuns"], runs["tagConcurrencyLimits"], chart["pools"]["defaultLimit"])
    ]
    for path in ("../caliper_dagster/dagster.yaml", "celery/dagster.yaml"):
        ours = loaded(path)["concurrency"]
        runs = ours["runs"]
        pools = ours["pools"]["default_limit"]
        found.append((runs["max_concurrent_runs"], runs["tag_concurrency_limits"], pools))
    for most, limits, pools in found:
        yield most, {limit["key"]: limit for limit in limits}, pools


def test_one_site_cannot_take_all_places() -> None:
    for most, by_tag, _ in places():
        assert by_tag[SITE_TAG]["value"] == {"applyLimitPerUniqueValue": True}
        assert by_tag["dagster/backfill"]["limit"] < by_tag[SITE_TAG]["limit"] < most


def test_backfills_leave_places_in_the_pools() -> None:
    for _, by_tag, pools in places():
        assert by_tag["dagster/backfill"]["limit"] + 2 <= pools
