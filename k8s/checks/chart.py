"""Renders the chart with a real Helm, as `helm install` would, without a cluster."""

from __future__ import annotations

import dataclasses
import pathlib

import helm_python
import yaml
from helm_python.chart import Chart, lint, package

RELEASE, NAMESPACE = "holdfast", "shop"

# The oldest Kubernetes that Chart.yaml promises.
KUBERNETES_MIN = "v1.30.0"

# Helm's order of installing; kinds that it does not know come last.
ORDER = [
    "NetworkPolicy", "PodDisruptionBudget", "ServiceAccount", "Secret", "ConfigMap", "PersistentVolumeClaim", "Service", "Pod", "Deployment",
    "HorizontalPodAutoscaler", "Job",
]  # fmt: skip


class Refused(Exception):
    """Helm does not render these values; the message is what its user reads."""


class StrictLoader(yaml.SafeLoader):
    """YAML in which a key that stands twice is an error, as it is for Kubernetes."""


def _unique(loader: StrictLoader, node: yaml.MappingNode, deep: bool = False) -> dict:
    keys = [loader.construct_object(key, deep=True) for key, _ in node.value]
    twice = sorted({str(key) for key in keys if keys.count(key) > 1})
    if twice:
        raise yaml.YAMLError(f"line {node.start_mark.line + 1}: {', '.join(twice)} stands twice")
    return loader.construct_mapping(node, deep=True)


StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique)


@dataclasses.dataclass
class Rendered:
    """What the chart makes of some values."""

    example: str
    values: dict
    objects: list[dict]
    notes: str

    def of(self, *kinds: str) -> list[dict]:
        return [item for item in self.objects if item["kind"] in kinds]

    def named(self, kind: str, name: str) -> dict | None:
        return next((item for item in self.of(kind) if item["metadata"]["name"] == name), None)

    def pods(self) -> list[tuple[dict, dict]]:
        """Every object that makes pods, with the pod: its metadata and its spec."""
        found = []
        for item in self.objects:
            if item["kind"] == "Pod":
                found.append((item, {"metadata": item["metadata"], "spec": item["spec"]}))
            elif item["kind"] in ("Deployment", "Job"):
                found.append((item, item["spec"]["template"]))
        return found

    def text(self) -> str:
        """All of it, in Helm's order of installing."""
        return "".join("---\n" + yaml.safe_dump(item, sort_keys=False, width=1000, allow_unicode=True) for item in self.objects)


def render(folder: pathlib.Path, values: dict, example: str = "", release: str = RELEASE, upgrade: bool = False) -> Rendered:
    """Renders the chart in a folder.

    Raises Refused when Helm does not, with its message.
    """
    try:
        chart = Chart.load(folder)
        files = chart.render(values, name=release, namespace=NAMESPACE, is_install=not upgrade, is_upgrade=upgrade)
    except helm_python.HelmError as error:
        raise Refused(str(error)) from error
    objects, notes = [], ""
    for path, text in sorted(files.items()):
        if path.endswith("NOTES.txt"):
            notes = text
            continue
        try:
            objects += [item for item in yaml.load_all(text, Loader=StrictLoader) if item]
        except yaml.YAMLError as error:
            raise Refused(f"{path}: {error}") from error
    rank = {kind: place for place, kind in enumerate(ORDER)}
    objects.sort(key=lambda item: (rank.get(item["kind"], len(ORDER)), item["kind"], item["metadata"]["name"]))
    return Rendered(example, values, objects, notes)


def examples(folder: pathlib.Path) -> dict[str, dict]:
    """The values of every example, by its name."""
    return {
        path.stem: yaml.load(path.read_text(encoding="utf-8"), Loader=StrictLoader)
        for path in sorted((folder / "examples").glob("*.yaml"))
    }


def lint_findings(folder: pathlib.Path, values: dict) -> list[str]:
    """What `helm lint --strict` finds."""
    report = lint(folder, values, strict=True, kube_version=KUBERNETES_MIN)
    # 2 is a warning, 3 an error.
    return [f"{message['path']}: {message['error']}" for message in report["messages"] if message["severity"] >= 2]


def packaged(folder: pathlib.Path, destination: pathlib.Path) -> pathlib.Path:
    """`helm package`: the archive."""
    return pathlib.Path(package(folder, destination=destination))
