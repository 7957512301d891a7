"""What the chart makes of the rules, dashboards and runbooks. Whether those are well by themselves, rules.py says, which this runs."""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator

import yaml
from chart import Rendered
from schema import rules


def well(checks: pathlib.Path, chart: pathlib.Path, promtool: pathlib.Path | None) -> Iterator[str]:
    """Rules, their tests, runbooks and dashboards are well by themselves (rules.py)."""
    if promtool is None:
        yield "promtool is not to be had; install Debian's package prometheus"
        return
    command = [sys.executable, str(checks / "rules.py"), "--promtool", str(promtool), "--chart", str(chart)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        yield done.stdout[-3000:] + done.stderr[-6000:]


def named(chart: pathlib.Path) -> Iterator[str]:
    """README names alerts that there are."""
    alerts = {rule["alert"] for rule in rules(chart) if "alert" in rule}
    for name in sorted(set(re.findall(r"\bHoldfast[A-Z]\w+", (chart / "README.md").read_text(encoding="utf-8"))) - alerts):
        yield f"README.md names the alert {name}, which is in no file of rules/"


def dashboards(chart: pathlib.Path) -> Iterator[str]:
    """Each dashboard fits into a ConfigMap that is called after it."""
    for path in sorted((chart / "dashboards").glob("*.json")):
        if path.stat().st_size > 900_000:
            yield f"dashboards/{path.name} is too large for a ConfigMap"
        if not re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?\.json", path.name):
            yield f"dashboards/{path.name}: its name must be lower-case words with hyphens; a ConfigMap is called after it"


def rendered(r: Rendered, chart: pathlib.Path) -> Iterator[str]:
    """What is turned on is all rendered, and links to its runbook."""
    if r.values.get("rules", {}).get("enabled"):
        there = {rule.get("alert") or rule.get("record") for item in r.of("PrometheusRule") for g in item["spec"]["groups"] for rule in g["rules"]}
        off = {name for name, alert in r.values["rules"].get("alerts", {}).items() if alert.get("enabled") is False}
        expected = {rule.get("alert") or rule.get("record") for rule in rules(chart)} - off
        yield from (f"PrometheusRule: {name} is missing" for name in sorted(expected - there))
        yield from (f"PrometheusRule: {name} should be off" for name in sorted(there - expected))
        for item in r.of("PrometheusRule"):
            for group in item["spec"]["groups"]:
                for rule in group["rules"]:
                    notes = rule.get("annotations", {})
                    base = r.values["rules"].get("runbookUrl")
                    if "alert" in rule and notes.get("runbook") != rule["alert"]:
                        yield f"PrometheusRule: {rule['alert']}'s annotation runbook must be its runbook's name, {rule['alert']}"
                    if "alert" in rule and base and notes.get("runbook_url") != f"{base.rstrip('/')}/{rule['alert']}.md":
                        yield f"PrometheusRule: {rule['alert']} has no runbook_url that leads to its runbook"
    if r.values.get("dashboards", {}).get("enabled"):
        maps = [(item["metadata"]["name"], key) for item in r.of("ConfigMap") for key in item["data"] if key.endswith(".json")]
        expected = {path.name for path in (chart / "dashboards").glob("*.json")}
        yield from (f"ConfigMap for dashboards/{name} is missing" for name in sorted(expected) if not any(key.endswith(f"-{name}") for _, key in maps))
        for name, key in maps:
            full = name.partition("-dashboard-")[0]
            if not key.startswith(f"{full}-"):
                yield f"ConfigMap {name}: its key {key} is a file's name for Grafana's sidecar and meets other charts' files; it must begin with {full}-"


def rendered_rules(r: Rendered, program: pathlib.Path | None) -> Iterator[str]:
    """The rendered PrometheusRule is still what Prometheus reads."""
    for item in r.of("PrometheusRule"):
        if program is None:
            return
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder, "rules.yaml")
            file.write_text(yaml.safe_dump(item["spec"], sort_keys=False), encoding="utf-8")
            done = subprocess.run([program, "check", "rules", file], capture_output=True, text=True, timeout=60, check=False)
            if done.returncode:
                yield f"PrometheusRule as rendered: {done.stdout[-1500:]}{done.stderr[-1500:]}"
