"""Whether the network policies, once on, let through what is needed: each pod is covered, and each call that the configuration makes finds an open way."""

from __future__ import annotations

import re
from collections.abc import Iterator

import objects
import restricted
from chart import Rendered


DEFAULT_PORTS = {"http": 80, "https": 443, "redis": 6379, "rediss": 6379, "postgres": 5432}


def complete(r: Rendered) -> Iterator[str]:
    """Network policies cover every pod, and every call that the configuration makes finds a way that is open."""
    policies = r.of("NetworkPolicy")
    if not policies:
        return
    pods = [(owner["metadata"]["name"], template) for owner, template in r.pods()]
    for name, template in pods:
        labels = template["metadata"].get("labels", {})
        mine = [policy for policy in policies if objects.matches(policy["spec"]["podSelector"], labels)]
        if not mine:
            yield f"{name}: no NetworkPolicy selects its pods, though the chart's are on"
            continue
        if not any("Egress" in policy["spec"]["policyTypes"] and "Ingress" in policy["spec"]["policyTypes"] for policy in mine):
            yield f"{name}: its NetworkPolicy must be about both ways"
        egress = [rule for policy in mine for rule in policy["spec"].get("egress", [])]
        if not _open(egress, {}, 53, "UDP", anywhere=True):
            yield f"{name}: may not look up names"
        for host, port in sorted(_calls(r, template)):
            yield from (f"{name}: {problem}" for problem in _way(r, host, port, labels, egress, policies))


def _calls(r: Rendered, template: dict) -> set[tuple[str, int]]:
    """Where a pod connects to, as its configuration says in the clear; without a port, where its client goes then."""
    texts = [variable.get("value", "") for c in restricted.containers(template["spec"]) for variable in c.get("env") or []]
    for volume in template["spec"].get("volumes") or []:
        config = r.named("ConfigMap", (volume.get("configMap") or {}).get("name", ""))
        texts += (config or {}).get("data", {}).values()
    found = re.findall(r"\b(https?|rediss?|postgres)://([a-z0-9.-]+)(?::([0-9]+))?", "\n".join(texts))
    return {(host, int(port or DEFAULT_PORTS[scheme])) for scheme, host, port in found if not host.startswith("127.")}


def _way(r: Rendered, host: str, port: int, labels: dict, egress: list, policies: list) -> Iterator[str]:
    service = r.named("Service", host.split(".")[0])
    if not service:
        if not _open(egress, None, port, "TCP", anywhere=False):
            yield f"connects to {host}:{port}, but no rule of egress names that port"
        return
    for owner, template in r.pods():
        target = template["metadata"]["labels"]
        if owner["kind"] != "Deployment" or not objects.matches(service["spec"]["selector"], target):
            continue
        if not _open(egress, target, port, "TCP", anywhere=False):
            yield f"calls {host}:{port}, but its egress does not reach the pods of {owner['metadata']['name']}"
        theirs = [rule for p in policies if objects.matches(p["spec"]["podSelector"], target) for rule in p["spec"].get("ingress", [])]
        name = next((item["name"] for item in service["spec"]["ports"] if item["port"] == port), None)
        if name is None:
            yield f"calls {host}:{port}, but that Service has no such port"
        elif not any(_port(rule, name, "TCP") and _peer(rule.get("from"), labels) for rule in theirs):
            yield f"calls {host}:{port}, but the ingress of {owner['metadata']['name']} does not let it in"


def _open(rules: list, target: dict | None, port: int, protocol: str, anywhere: bool) -> bool:
    """Whether a rule of egress leads to pods with these labels; `None`: to whatever the rule names outside."""
    for rule in rules:
        if not _port(rule, port, protocol):
            continue
        if target is None or anywhere or _peer(rule.get("to"), target):
            return True
    return False


def _port(rule: dict, port: object, protocol: str) -> bool:
    return "ports" not in rule or any(p["port"] == port and p.get("protocol", "TCP") == protocol for p in rule["ports"])


def _peer(peers: list | None, labels: dict) -> bool:
    """Whether peers include pods of the release's own namespace with these labels."""
    if not peers:
        return True
    return any("podSelector" in peer and "namespaceSelector" not in peer and objects.matches(peer["podSelector"] or {}, labels) for peer in peers)


def scraped(r: Rendered) -> Iterator[str]:
    """Prometheus may read the admin port of whatever a monitor finds."""
    if not r.of("NetworkPolicy") or not r.of("ServiceMonitor", "PodMonitor"):
        return
    for item in r.of("Deployment"):
        labels = item["spec"]["template"]["metadata"]["labels"]
        rules = [rule for p in r.of("NetworkPolicy") if objects.matches(p["spec"]["podSelector"], labels) for rule in p["spec"].get("ingress", [])]
        if not any(_port(rule, "admin", "TCP") for rule in rules):
            yield f"{item['metadata']['name']}: is to be scraped, but its NetworkPolicy does not open the port admin"


CHECKS = [complete, scraped]
