# SPDX-License-Identifier: Apache-2.0
"""The fleet's files fit each other and the presets; no test has a cluster to run them on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from edgevlm_ros.assets import settings_files
from edgevlm_ros.cloud.grounding import known_format

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
KUBERNETES = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
RAY = yaml.safe_load((DEPLOY / "ray_serve" / "serve.yaml").read_text())


def objects(*kinds: str) -> list[dict[str, Any]]:
    """Of all manifests, of these kinds."""
    files = [file for file in KUBERNETES if file.name != "kustomization.yaml"]
    documents = [document for file in files for document in yaml.safe_load_all(file.read_text())]
    return [document for document in documents if not kinds or document["kind"] in kinds]


def named(kind: str, name: str) -> dict[str, Any]:
    (found,) = (one for one in objects(kind) if one["metadata"]["name"] == name)
    return found


def pods() -> list[dict[str, Any]]:
    return [one["spec"]["template"] for one in objects("Deployment")]


def containers() -> list[dict[str, Any]]:
    return [container for pod in pods() for container in pod["spec"]["containers"]]


def alias() -> str:
    """The name by which a robot asks the gateway."""
    config = yaml.safe_load(named("ConfigMap", "gateway")["data"]["config.yaml"])
    return str(config["model_list"][0]["model_name"])


def test_every_object_has_a_kind_and_a_name_of_its_own() -> None:
    names = [(one["apiVersion"], one["kind"], one["metadata"]["name"]) for one in objects()]
    assert len(set(names)) == len(names) > 8


def test_the_kustomization_takes_every_manifest_but_the_secrets() -> None:
    kustomization = yaml.safe_load((DEPLOY / "kubernetes" / "kustomization.yaml").read_text())
    others = {"kustomization.yaml", "secrets.example.yaml"}
    assert set(kustomization["resources"]) == {file.name for file in KUBERNETES} - others


@pytest.mark.parametrize("name", ["engine", "gateway"])
def test_a_deployment_selects_its_pods_and_a_service_reaches_them(name: str) -> None:
    deployment, service = named("Deployment", name), named("Service", name)
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert service["spec"]["selector"].items() <= labels.items()
    ports = {port["name"] for one in containers() for port in one["ports"]}
    assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports


def test_every_secret_volume_and_configuration_that_is_named_is_there() -> None:
    secrets = {(one["metadata"]["name"], key) for one in objects("Secret") for key in one["stringData"]}
    asked = {
        (source["secretKeyRef"]["name"], source["secretKeyRef"]["key"])
        for container in containers()
        for variable in container["env"]
        if "secretKeyRef" in (source := variable["valueFrom"])
    }
    assert asked == secrets
    for pod in pods():
        volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
        mounted = [mount["name"] for one in pod["spec"]["containers"] for mount in one["volumeMounts"]]
        assert sorted(mounted) == sorted(volumes)
        for volume in volumes.values():
            if "configMap" in volume:
                named("ConfigMap", volume["configMap"]["name"])
            if "persistentVolumeClaim" in volume:
                named("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"])


def test_no_manifest_holds_a_secret() -> None:
    values = [value for one in objects("Secret") for value in one["stringData"].values()]
    assert all("CHANGE_ME" in value for value in values)
    plain = [variable for container in containers() for variable in container["env"] if "value" in variable]
    assert plain == []


def test_every_container_is_bounded_and_probed_on_a_port_of_its_own() -> None:
    for container in containers():
        assert "memory" in container["resources"]["limits"]
        ports = {port["name"] for port in container["ports"]}
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert container[probe]["httpGet"]["port"] in ports
        assert not container["image"].endswith(":latest")


def test_an_engine_has_as_many_gpus_as_it_is_spread_over() -> None:
    (engine,) = (one for one in containers() if one["name"] == "vllm")
    arguments = dict(argument.lstrip("-").partition("=")[::2] for argument in engine["args"])
    assert engine["resources"]["limits"]["nvidia.com/gpu"] == arguments["tensor-parallel-size"]
    assert arguments["served-model-name"] == alias()


def test_the_autoscaler_and_the_network_policy_are_of_deployments_that_are_there() -> None:
    for one in objects("HorizontalPodAutoscaler"):
        target = one["spec"]["scaleTargetRef"]
        assert "replicas" not in named(target["kind"], target["name"])["spec"]
    labels = [pod["metadata"]["labels"] for pod in pods()]
    for one in objects("NetworkPolicy"):
        selector = one["spec"]["podSelector"]["matchLabels"]
        assert any(selector.items() <= pod.items() for pod in labels)


def test_the_gateway_asks_the_engine_by_its_service() -> None:
    config = yaml.safe_load(named("ConfigMap", "gateway")["data"]["config.yaml"])
    (model,) = config["model_list"]
    port = named("Service", "engine")["spec"]["ports"][0]["port"]
    assert model["litellm_params"]["api_base"] == f"http://engine:{port}/v1"
    variables = {variable["name"] for container in containers() for variable in container["env"]}
    assert set(environment(config)) <= variables


def environment(value: Any) -> Iterator[str]:
    """Variables that a configuration of LiteLLM names."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from environment(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from environment(inner)
    elif isinstance(value, str) and value.startswith("os.environ/"):
        yield value.removeprefix("os.environ/")


def test_robots_know_by_the_name_they_ask_for_how_its_model_counts_boxes() -> None:
    (ray,) = RAY["applications"][0]["args"]["llm_configs"]
    preset = yaml.safe_load(settings_files("clouds")["gateway"].read_text())
    asked = preset["/**"]["cloud_bridge_node"]["ros__parameters"]["model"]
    assert asked == alias() == ray["model_loading_config"]["model_id"]
    source = ray["model_loading_config"]["model_source"]
    assert known_format(asked) == known_format(source) == "pixels_qwen2_5"


def test_the_manifests_are_of_the_published_schemas() -> None:
    kubernetes = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed here")
    for one in objects():
        kubernetes.validate(one, kubernetes.latest_version(), strict=True)


def test_the_ray_application_is_one_of_rays_own_schema() -> None:
    schema = pytest.importorskip("ray.serve.schema", reason="an extra: pip install 'ray[serve]'", exc_type=ImportError)
    application = schema.ServeDeploySchema.model_validate(RAY).applications[0]
    assert application.import_path == "ray.serve.llm:build_openai_app"


def test_a_ray_replica_takes_no_more_at_once_than_its_engine_batches() -> None:
    (config,) = RAY["applications"][0]["args"]["llm_configs"]
    deployment = config["deployment_config"]
    assert deployment["max_ongoing_requests"] <= config["engine_kwargs"]["max_num_seqs"]
    assert deployment["autoscaling_config"]["target_ongoing_requests"] < deployment["max_ongoing_requests"]
