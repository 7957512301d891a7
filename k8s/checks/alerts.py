"""Alerts, runbooks and dashboards: each alert has a runbook and rule tests, each runbook an alert, each dashboard is one."""

from __future__ import annotations

import json
import pathlib
import re
import subprocess
import tempfile
from collections.abc import Iterator

import yaml
from chart import Rendered
from schema import rules

SECTIONS = ("meaning", "impact", "diagnosis", "mitigation")


def runbooks(chart: pathlib.Path) -> Iterator[str]:
    """One alert, one runbook with its four sections."""
    alerts = [rule["alert"] for rule in rules(chart) if "alert" in rule]
    yield from (f"the alert {name} stands twice in rules/" for name in sorted({n for n in alerts if alerts.count(n) > 1}))
    books = {path.stem: path for path in (chart / "runbooks").glob("*.md") if path.stem != "README"}
    yield from (f"the alert {name} has no runbook; write runbooks/{name}.md" for name in sorted(set(alerts) - set(books)))
    yield from (f"runbooks/{name}.md belongs to no alert" for name in sorted(set(books) - set(alerts)))
    for name, path in sorted(books.items()):
        headings = [line.lstrip("#").strip().lower() for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
        missing = [section for section in SECTIONS if not any(heading.startswith(section) for heading in headings)]
        if missing:
            yield f"runbooks/{name}.md lacks the section {', '.join(missing)}"


def rule_tests(chart: pathlib.Path) -> Iterator[str]:
    """Each alert has a rule test that fires and one that stays silent."""
    fires, silent = set(), set()
    for file in sorted((chart / "rules/tests").glob("*.yaml")):
        for test in (yaml.safe_load(file.read_text(encoding="utf-8")) or {}).get("tests", []):
            for case in test.get("alert_rule_test", []):
                (fires if case.get("exp_alerts") else silent).add(case["alertname"])
    for rule in rules(chart):
        if "alert" in rule:
            name = rule["alert"]
            if name not in fires:
                yield f"{name}: no rule test in rules/tests sees it fire"
            if name not in silent:
                yield f"{name}: no rule test in rules/tests sees it stay silent"


def dashboards(chart: pathlib.Path) -> Iterator[str]:
    """Each dashboard is JSON with a title and a uid of its own, and small enough for a ConfigMap."""
    seen = {}
    for path in sorted((chart / "dashboards").glob("*.json")):
        try:
            board = json.loads(path.read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            yield f"dashboards/{path.name} is not JSON: {error}"
            continue
        if not board.get("title") or not board.get("panels"):
            yield f"dashboards/{path.name} has no title or no panels"
        uid = board.get("uid")
        if not uid or uid in seen:
            yield f"dashboards/{path.name}: its uid {uid!r} is missing or that of {seen.get(uid)}"
        seen[uid] = path.name
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
                    url = rule.get("annotations", {}).get("runbook_url", "")
                    if "alert" in rule and not url.endswith(f"/{rule['alert']}.md"):
                        yield f"PrometheusRule: {rule['alert']} has no runbook_url that ends with its runbook's name"
    if r.values.get("dashboards", {}).get("enabled"):
        there = {key for item in r.of("ConfigMap") for key in item["data"] if key.endswith(".json")}
        expected = {path.name for path in (chart / "dashboards").glob("*.json")}
        yield from (f"ConfigMap for dashboards/{name} is missing" for name in sorted(expected - there))


def promtool(chart: pathlib.Path, program: pathlib.Path | None) -> Iterator[str]:
    """Prometheus' own tool reads the rules and runs their tests."""
    files = sorted((chart / "rules").glob("*.yaml"))
    if not files:
        return
    if program is None:
        yield "promtool is not to be had; install Debian's package prometheus"
        return
    tests = sorted((chart / "rules/tests").glob("*.yaml"))
    for words in (["check", "rules", *files], ["test", "rules", *tests]):
        done = subprocess.run([program, *words], capture_output=True, text=True, timeout=300, check=False, cwd=chart / "rules/tests" if tests else chart)
        if done.returncode:
            yield f"promtool {' '.join(str(word) for word in words[:2])}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}"


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
