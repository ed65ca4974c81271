# SPDX-License-Identifier: MIT
"""The manifests of Kubernetes and of docker compose: strict YAML, known fields, and values that fit
each other and prservd's options."""

import re
import shutil
import subprocess

import pytest

from harness import PRSERVD, ROOT

yaml = pytest.importorskip("yaml", reason="python3-yaml is not installed")

KUBERNETES = ROOT / "contrib" / "kubernetes"
COMPOSE = ROOT / "contrib" / "compose" / "compose.yaml"


class Strict(yaml.SafeLoader):
    """Refuses a key that a mapping has twice."""


def construct_mapping(loader, node):
    keys = [loader.construct_object(key) for key, _ in node.value]
    assert len(keys) == len(set(keys)), f"a key occurs twice: {node.start_mark}"
    return loader.construct_mapping(node, deep=True)


Strict.add_constructor(
    yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, construct_mapping
)


def documents(path):
    return list(yaml.load_all(path.read_text(), Strict))


MAP = dict  # names chosen by the user
TEXT, NUMBER, FLAG = str, int, bool
METADATA = {"name": TEXT, "labels": MAP}
SELECTOR = {"matchLabels": MAP}
PROBE = {
    "httpGet": {"path": TEXT, "port": TEXT},
    "periodSeconds": NUMBER,
    "timeoutSeconds": NUMBER,
    "failureThreshold": NUMBER,
}
CONTAINER = {
    "name": TEXT,
    "image": TEXT,
    "env": [{"name": TEXT, "value": TEXT}],
    "envFrom": [{"configMapRef": {"name": TEXT}, "secretRef": {"name": TEXT}}],
    "ports": [{"name": TEXT, "containerPort": NUMBER}],
    "startupProbe": PROBE,
    "livenessProbe": PROBE,
    "readinessProbe": PROBE,
    "lifecycle": {"preStop": {"exec": {"command": [TEXT]}}},
    "resources": {"requests": MAP, "limits": MAP},
    "securityContext": {
        "allowPrivilegeEscalation": FLAG,
        "readOnlyRootFilesystem": FLAG,
        "capabilities": {"drop": [TEXT]},
    },
    "volumeMounts": [{"name": TEXT, "mountPath": TEXT}],
}
POD = {
    "automountServiceAccountToken": FLAG,
    "enableServiceLinks": FLAG,
    "terminationGracePeriodSeconds": NUMBER,
    "securityContext": {
        "runAsNonRoot": FLAG,
        "runAsUser": NUMBER,
        "runAsGroup": NUMBER,
        "fsGroup": NUMBER,
        "fsGroupChangePolicy": TEXT,
        "seccompProfile": {"type": TEXT},
    },
    "topologySpreadConstraints": [
        {
            "maxSkew": NUMBER,
            "topologyKey": TEXT,
            "whenUnsatisfiable": TEXT,
            "labelSelector": SELECTOR,
        }
    ],
    "containers": [CONTAINER],
}
TEMPLATE = {"metadata": {"labels": MAP}, "spec": POD}
CLAIM = {"accessModes": [TEXT], "resources": {"requests": MAP}}
UPDATE = {"type": TEXT, "rollingUpdate": {"maxSurge": NUMBER, "maxUnavailable": NUMBER}}
# The fields of each kind that the manifests use.
KINDS = {
    ("v1", "ConfigMap"): {"data": MAP},
    ("v1", "Service"): {
        "spec": {
            "selector": MAP,
            "ports": [{"name": TEXT, "port": NUMBER, "targetPort": TEXT}],
        }
    },
    ("apps/v1", "Deployment"): {
        "spec": {
            "replicas": NUMBER,
            "selector": SELECTOR,
            "strategy": UPDATE,
            "template": TEMPLATE,
        }
    },
    ("apps/v1", "StatefulSet"): {
        "spec": {
            "serviceName": TEXT,
            "replicas": NUMBER,
            "selector": SELECTOR,
            "template": TEMPLATE,
            "volumeClaimTemplates": [{"metadata": {"name": TEXT}, "spec": CLAIM}],
        }
    },
    ("policy/v1", "PodDisruptionBudget"): {
        "spec": {"minAvailable": NUMBER, "selector": SELECTOR}
    },
}


def check(value, schema, where):
    """Checks that all fields are known and have values of the right type."""
    if isinstance(schema, list):
        assert isinstance(value, list) and value, where
        for index, item in enumerate(value):
            check(item, schema[0], f"{where}[{index}]")
    elif isinstance(schema, dict):
        assert isinstance(value, dict), where
        for name, field in value.items():
            assert name in schema, f"{where}: unknown field {name}"
            check(field, schema[name], f"{where}.{name}")
    elif schema is MAP:
        assert value and all(isinstance(text, str) for text in value.values()), where
    else:
        assert type(value) is schema, f"{where}: {value!r}"


def objects(name):
    return {document["kind"]: document for document in documents(KUBERNETES / name)}


MANIFESTS = sorted(path.name for path in KUBERNETES.glob("*.yaml"))


def test_there_are_manifests_for_both_databases():
    assert MANIFESTS == ["postgresql.yaml", "sqlite.yaml"]
    assert set(objects("postgresql.yaml")) == {
        "ConfigMap",
        "Deployment",
        "PodDisruptionBudget",
        "Service",
    }
    assert set(objects("sqlite.yaml")) == {"StatefulSet", "Service"}


@pytest.mark.parametrize("name", MANIFESTS)
def test_each_field_is_known(name):
    for document in documents(KUBERNETES / name):
        schema = KINDS[(document["apiVersion"], document["kind"])]
        common = {"apiVersion": TEXT, "kind": TEXT, "metadata": METADATA}
        check(document, {**common, **schema}, f"{name}: {document['kind']}")


def workload(name):
    found = objects(name)
    return found.get("Deployment") or found["StatefulSet"]


@pytest.mark.parametrize("name", MANIFESTS)
def test_names_refer_to_what_is_there(name):
    found, spec = objects(name), workload(name)["spec"]
    labels = spec["template"]["metadata"]["labels"]
    assert spec["selector"]["matchLabels"] == labels
    assert found["Service"]["spec"]["selector"] == labels
    (container,) = spec["template"]["spec"]["containers"]
    ports = {port["name"] for port in container["ports"]}
    assert all(
        port["targetPort"] in ports for port in found["Service"]["spec"]["ports"]
    )
    for probe, path in (
        ("startupProbe", "/healthz"),
        ("livenessProbe", "/healthz"),
        ("readinessProbe", "/readyz"),
    ):
        assert container[probe]["httpGet"]["path"] == path
        assert container[probe]["httpGet"]["port"] in ports
    mounts = {mount["name"] for mount in container.get("volumeMounts", [])}
    claims = {
        claim["metadata"]["name"] for claim in spec.get("volumeClaimTemplates", [])
    }
    assert mounts == claims
    if "PodDisruptionBudget" in found:
        budget = found["PodDisruptionBudget"]["spec"]
        assert budget["selector"]["matchLabels"] == labels
        assert budget["minAvailable"] < spec["replicas"]
        sources = [list(source.values())[0]["name"] for source in container["envFrom"]]
        assert sources[0] == found["ConfigMap"]["metadata"]["name"]


@pytest.mark.parametrize("name", MANIFESTS)
def test_the_server_has_no_rights_that_it_does_not_need(name):
    pod = workload(name)["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    user = re.search(
        r"^USER (\d+):", (ROOT / "contrib/docker/Dockerfile").read_text(), re.M
    )
    assert pod["securityContext"]["runAsUser"] == int(user[1])


def known_variables():
    usage = subprocess.run([PRSERVD, "--help"], capture_output=True, text=True).stdout
    return set(re.findall(r"PRSERVD_\w+", usage)) | {"PGPASSWORD"}


def test_variables_are_options_of_prservd():
    used = set(objects("postgresql.yaml")["ConfigMap"]["data"])
    (container,) = workload("sqlite.yaml")["spec"]["template"]["spec"]["containers"]
    used |= {variable["name"] for variable in container["env"]}
    used |= set(documents(COMPOSE)[0]["services"]["prservd"]["environment"])
    assert used <= known_variables(), used - known_variables()


def test_one_server_only_on_sqlite():
    assert workload("sqlite.yaml")["spec"]["replicas"] == 1


SERVICE_FIELDS = set(
    """build cap_drop depends_on environment healthcheck image ports profiles read_only restart
    security_opt stop_grace_period volumes""".split()
)


def test_the_services_of_compose_fit_together():
    (compose,) = documents(COMPOSE)
    services = compose["services"]
    assert set(services) == {"prservd", "postgresql", "prometheus", "grafana"}
    for name, service in services.items():
        assert set(service) <= SERVICE_FIELDS, name
        assert set(service.get("depends_on", [])) <= set(services)
        for port in service.get("ports", []):
            assert "127.0.0.1:" in port, "published to other machines"
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (COMPOSE.parent / source).is_file(), source
            else:
                assert source in compose["volumes"], source
    build = services["prservd"]["build"]
    context = (COMPOSE.parent / build["context"]).resolve()
    assert (context / build["dockerfile"]).is_file() and context == ROOT
    assert services["prservd"]["read_only"] is True


def test_prometheus_and_grafana_are_told_where_to_look():
    (prometheus,) = documents(COMPOSE.parent / "prometheus.yml")
    (job,) = prometheus["scrape_configs"]
    assert job["job_name"] == "prservd"
    assert job["static_configs"] == [{"targets": ["prservd:8580"]}]
    (source,) = documents(COMPOSE.parent / "grafana" / "datasource.yml")
    assert source["datasources"][0]["url"] == "http://prometheus:9090"


def test_promtool_accepts_the_configuration(tmp_path):
    if not shutil.which("promtool"):
        pytest.skip("promtool is not installed (Debian: prometheus)")
    shutil.copy(COMPOSE.parent / "prometheus.yml", tmp_path)
    shutil.copy(ROOT / "contrib" / "prometheus" / "prservd.rules.yml", tmp_path)
    command = ["promtool", "check", "config", tmp_path / "prometheus.yml"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
