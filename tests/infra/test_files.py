"""The files for containers and Kubernetes are what their schemas say, and hold no password. Nothing is started: no
container engine is needed, and `helm lint` has the last word on the values."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from compose_spec import PyCompose
from yamllint.config import YamlLintConfig
from yamllint.linter import run as lint

KUBERNETES = "1.33"
"""Version of the schemas."""
SECRET = re.compile(r"PASSWORD|SECRET|AUTH_STRING|CONNECTION_URL|STORE_URI")
# Keys that the charts know where a chart ignores, in silence, what it does not know (versions of November 2026).
CHARTS = {
    "prefect-server.yaml": {
        "global.prefect.image": {"repository", "prefectTag", "pullPolicy", "pullSecrets"},
        "server": {"replicaCount", "basicAuth", "env", "resources", "podSecurityContext", "image"},
        "server.basicAuth": {"enabled", "authString", "existingSecret"},
        "secret": {"create", "name", "username", "password", "host", "port", "database"},
    },
    "prefect-worker.yaml": {
        "worker": {"image", "replicaCount", "apiConfig", "serverApiConfig", "config", "extraEnvVars", "resources"},
        "worker.image": {"repository", "prefectTag", "pullPolicy", "pullSecrets", "debug"},
        "worker.config": {"workPool", "workQueues", "type", "limit", "name", "installPolicy", "baseJobTemplate"},
        "worker.config.baseJobTemplate": {"existingConfigMapName", "configuration", "name"},
    },
    "mlflow.yaml": {
        "": {"image", "replicaCount", "server", "mlflow", "env", "envFrom", "extraVolumes", "extraVolumeMounts",
             "podSecurityContext", "securityContext", "networkPolicy", "resources"},
        "mlflow": {"backendStoreUri", "backendStoreUriFrom", "defaultArtifactRoot", "artifactsDestination"},
        "server": {"value_options", "flag_options", "staticPrefix"},
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def infra(repository: Path) -> Path:
    return repository / "infra"


def compose(infra: Path, **variables: str) -> dict[str, Any]:
    """The file with its anchors resolved, and with these variables of the environment."""
    text = (infra / "compose.yaml").read_text()
    if variables:
        text = re.sub(r"(?<!\$)\$\{(\w+):\?[^}]*\}", lambda match: variables[match[1]], text)
    return dict(yaml.safe_load(text))


def test_every_file_is_yaml_in_one_style(infra: Path, repository: Path) -> None:
    """Prevents: a key twice, of which the second wins, and a file that a parser of YAML 1.1 reads as another one."""
    rules = YamlLintConfig(file=str(repository / ".yamllint"))
    files = [repository / "prefect.yaml", *sorted(infra.rglob("*.yaml"))]
    assert len(files) == 7
    found = [f"{path.name}:{each}" for path in files for each in lint(path.read_text(), rules)]
    assert found == []


def test_compose_is_what_its_specification_says(infra: Path) -> None:
    """Prevents: a service that does not start, or starts without what the file seems to say."""
    secrets = dict.fromkeys(("IDIOM_POSTGRES", "IDIOM_S3", "IDIOM_MLFLOW", "IDIOM_MLFLOW_FORMS", "IDIOM_PREFECT"), "a1")
    document = compose(infra, **secrets, IDIOM_WORKSPACE="/srv/idiom")
    known = {key: value for key, value in document.items() if not key.startswith("x-")}
    names = PyCompose.from_json(json.dumps(known)).service_names()
    assert sorted(names) == ["buckets", "mlflow", "postgres", "prefect", "s3", "worker"]
    known["services"]["s3"]["helthcheck"] = {}
    with pytest.raises(ValueError, match="helthcheck"):
        PyCompose.from_json(json.dumps(known))


def test_compose_gives_nothing_away(infra: Path) -> None:
    """Prevents: default passwords, root, images that change under a name, ports that the network sees."""
    document = compose(infra)
    for name, service in document["services"].items():
        assert re.fullmatch(r"[\w./-]+:\d[\w.-]*", service["image"]), name
        assert int(service["user"].split(":")[0]) > 0 and service["cap_drop"] == ["ALL"] and service["read_only"]
        assert name == "buckets" or service["healthcheck"]["test"][0].startswith("CMD")
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
        secret = {key: value for key, value in service["environment"].items() if SECRET.search(key)}
        assert all(re.search(r"\$\{IDIOM_[A-Z0-9_]+:\?", value) for value in secret.values()), secret
        assert secret
    (device,) = document["services"]["worker"]["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]


def test_kubernetes_manifests_are_valid(infra: Path) -> None:
    """Prevents: a job that the cluster refuses in the night."""
    manifests = [
        each
        for name in ("workspace.yaml", "train-nodes.yaml")
        for each in yaml.safe_load_all((infra / "kubernetes" / name).read_text())
    ]
    assert [each["kind"] for each in manifests] == ["PersistentVolumeClaim", "Service", "Job"]
    for each in [*manifests, job(infra)]:
        kubernetes_validate.validate(each, KUBERNETES, strict=True)
    broken = job(infra)
    broken["spec"]["template"]["spec"]["restartPolice"] = "Never"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, KUBERNETES, strict=True)


def job(infra: Path) -> dict[str, Any]:
    """The job of a run as Prefect's worker fills the base job template in."""
    values = yaml.safe_load((infra / "kubernetes" / "prefect-worker.yaml").read_text())
    template = json.loads(values["worker"]["config"]["baseJobTemplate"]["configuration"])
    assert set(template) == {"job_configuration", "variables"}
    filled: dict[str, Any] = {
        name: each.get("default") for name, each in template["variables"]["properties"].items()
    } | {"command": ["prefect", "flow-run", "execute"], "env": [{"name": "A", "value": "b"}], "labels": {"a": "b"}}

    def fill(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: fill(each) for key, each in value.items()}
        if isinstance(value, list):
            return [fill(each) for each in value]
        if isinstance(value, str) and (whole := re.fullmatch(r"\{\{ (\w+) \}\}", value)):
            return filled[whole[1]]
        return (
            re.sub(r"\{\{ (\w+) \}\}", lambda match: str(filled[match[1]]), value) if isinstance(value, str) else value
        )

    made = fill(template["job_configuration"]["job_manifest"])
    container = made["spec"]["template"]["spec"]["containers"][0]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    return dict(made)


@pytest.mark.parametrize("name", sorted(CHARTS))
def test_values_are_keys_of_the_charts(infra: Path, name: str) -> None:
    """Prevents: a value that is mistyped and ignored, such as basic auth that is not on."""
    text = (infra / "kubernetes" / name).read_text()
    values = yaml.safe_load(text)
    for place, known in CHARTS[name].items():
        found = values
        for part in filter(None, place.split(".")):
            found = found[part]
        assert set(found) <= known, f"{name} {place}: {set(found) - known}"
    assert not re.search(r"(?i)password: *\S", text)


def test_versions_are_those_of_the_environment(infra: Path, repository: Path) -> None:
    """Prevents: a server of another version than its clients."""
    (prefect,) = re.findall(r"^prefect==(.+)$", (repository / "constraints.txt").read_text(), re.MULTILINE)
    for name in ("prefect-server.yaml", "prefect-worker.yaml"):
        assert f"prefectTag: {prefect}-python3.11" in (infra / "kubernetes" / name).read_text()
    from components import __version__

    assert f"image: idiom:{__version__}" in (infra / "compose.yaml").read_text()
