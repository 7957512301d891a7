"""Checks that others wrote: Kubernetes' own schemas, strictly, and checkov's policies."""

from __future__ import annotations

import json
import pathlib
import subprocess
import tempfile
from collections.abc import Iterator

import kubernetes_validate
from chart import Rendered

# The oldest Kubernetes that Chart.yaml promises, and the newest whose schemas are at hand.
VERSIONS = ["1.30", kubernetes_validate.latest_version()]

# Kinds that Kubernetes itself does not know, by their group. Prometheus' rules are checked by promtool.
FOREIGN = {"monitoring.coreos.com", "postgresql.cnpg.io", "external-secrets.io"}

# Reviewed: what checkov finds and we want all the same, and why.
SKIPPED = {
    "CKV_K8S_11": "no CPU limits: throttling shows as latency, requests share the CPU fairly",
    "CKV_K8S_14": "the tag is the chart's appVersion unless the user pins a digest, as the production example does",
    "CKV_K8S_15": "pullPolicy IfNotPresent: a version's tag is never pushed twice, and pods start while the registry is away",
    "CKV_K8S_43": "a digest is the user's to pin, as the production example does",
    "CKV_K8S_8": "a Job that ends by itself and a test's pod have no probes; those of services are checked in objects.py",
    "CKV_K8S_9": "as CKV_K8S_8",
    "CKV2_K8S_6": "network policies are optional, as a cluster may have none; examples that turn them on are checked in network.py",
}


def schemas(r: Rendered) -> Iterator[str]:
    """Every object is valid, without a key that Kubernetes does not know."""
    for item in r.objects:
        group = item["apiVersion"].rpartition("/")[0]
        if group in FOREIGN:
            continue
        for version in VERSIONS:
            where = f"{item['kind']} {item['metadata']['name']}, Kubernetes {version}"
            try:
                kubernetes_validate.validate(item, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                yield f"{where}: {'.'.join(str(part) for part in error.path)}: {error.message}"
            except (kubernetes_validate.SchemaNotFoundError, kubernetes_validate.VersionNotSupportedError) as error:
                yield f"{where}: {error}"


def policies(renderings: list[Rendered], checkov: pathlib.Path) -> Iterator[str]:
    """checkov's policies, offline, on every example."""
    with tempfile.TemporaryDirectory() as folder:
        for r in renderings:
            pathlib.Path(folder, f"{r.example}.yaml").write_text(r.text(), encoding="utf-8")
        command = [str(checkov), "--directory", folder, "--framework", "kubernetes", "--skip-download", "--compact", "--quiet", "--output", "json"]
        command += ["--skip-check", ",".join(SKIPPED)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        try:
            report = json.loads(done.stdout)
        except json.JSONDecodeError:
            yield f"checkov did not answer: {done.stderr[-500:] or done.stdout[-500:]}"
            return
    if "results" not in report or report["summary"]["parsing_errors"]:
        yield f"checkov could not read the examples: {json.dumps(report)[:500]}"
        return
    if not report["summary"]["passed"]:
        yield "checkov looked at nothing"
    for finding in report["results"]["failed_checks"]:
        yield f"{finding['file_path']}: {finding['resource']}: {finding['check_id']} {finding['check_name']}"
