#!/usr/bin/env python3
"""Checks the alerts: that they parse, are tested, have runbooks, and ask for metrics that there are; and that the dashboards do.

    rules.py [--promtool PATH] [--chart k8s/holdfast]

Ends with 0 if all is well, with 1 and a line for each problem if not, with 2 if promtool cannot be run.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator

import yaml

HEADINGS = ["## Meaning", "## Impact", "## Diagnosis", "## Mitigation"]
SEVERITIES = {"page", "ticket"}
# What Prometheus makes itself of every target.
FOREIGN = {"up"}
# What a histogram's and a counter's samples are called beside their family.
SUFFIXES = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"], "gauge": [""], "info": ["_info"]}
# A label that a test needs to tell alerts of one name apart.
APART = ["severity", "long_window"]
# Labels that Prometheus gives every sample, and that its own functions make.
GIVEN = {"namespace", "job", "pod", "container", "instance", "le", "endpoint", "service"}


class Metrics:
    """The list that a test of the services writes: name, type, labels."""

    def __init__(self, file: pathlib.Path):
        self.samples: dict[str, set[str] | None] = {}
        for line in file.read_text().splitlines():
            if not line or line.startswith("#"):
                continue
            name, kind, labels = (line.split(" ") + ["-"])[:3]
            for suffix in SUFFIXES[kind]:
                self.samples[name + suffix] = None if labels == "?" else set(labels.split(",")) - {"-"}

    def problems(self, expression: str, recorded: set[str]) -> Iterator[str]:
        """What an expression asks for that nobody says."""
        for name in sorted(set(re.findall(r"\bholdfast[_:][a-zA-Z0-9_:]+", without_strings(expression)))):
            if name not in self.samples and name not in recorded:
                yield f"no service says {name}, and no rule records it"
        for name, matchers in re.findall(r"\b(holdfast_[a-z0-9_]+)\{([^}]*)\}", without_strings(expression)):
            labels = self.samples.get(name)
            for label in re.findall(r"([a-zA-Z_]+)\s*(?:=~|!~|!=|=)", matchers):
                if labels is not None and label not in labels | GIVEN:
                    yield f"{name} has no label {label}"


def without_strings(expression: str) -> str:
    """Strings may hold braces, and names that are no metrics."""
    return re.sub(r'"(?:[^"\\]|\\.)*"', '""', expression)


def rules_of(chart: pathlib.Path) -> Iterator[tuple[str, dict]]:
    for file in sorted((chart / "rules").glob("*.yaml")):
        for group in yaml.safe_load(file.read_text())["groups"]:
            for rule in group["rules"]:
                yield file.name, rule


def variant(labels: dict) -> tuple[str, ...]:
    return tuple(str(labels.get(label, "")) for label in APART)


def alerts(chart: pathlib.Path) -> Iterator[str]:
    """Labels and annotations, and a runbook for each."""
    seen = set()
    for file, rule in rules_of(chart):
        name = rule.get("alert")
        if not name:
            continue
        labels, annotations = rule.get("labels", {}), rule.get("annotations", {})
        if (name, variant(labels)) in seen:
            yield f"{file}: {name} {variant(labels)} is there twice"
        seen.add((name, variant(labels)))
        if labels.get("severity") not in SEVERITIES:
            yield f"{file}: {name} has the severity {labels.get('severity')!r}"
        if not name.startswith("Holdfast"):
            yield f"{file}: {name} could be anybody's: it must begin with Holdfast"
        if annotations.get("runbook") != name:
            yield f"{file}: {name} names the runbook {annotations.get('runbook')!r}"
        for key in ("summary", "description"):
            if not annotations.get(key):
                yield f"{file}: {name} has no {key}"
    names = {name for name, _ in seen}
    runbooks = {path.stem: path.read_text() for path in sorted((chart / "runbooks").glob("*.md")) if path.stem != "README"}
    for name in sorted(names - runbooks.keys()):
        yield f"{name} has no runbook"
    for name, text in runbooks.items():
        if name not in names:
            yield f"runbooks/{name}.md has no alert"
        found = [line for line in text.splitlines() if line.startswith("#")]
        if found != [f"# {name}", *HEADINGS]:
            yield f"runbooks/{name}.md: its headings are {found}, not its name and {HEADINGS}"
        parts = re.split(r"^#.*$", text, flags=re.M)[2:]
        if any(not part.strip() for part in parts):
            yield f"runbooks/{name}.md: a heading has nothing below it"


def tested(chart: pathlib.Path) -> Iterator[str]:
    """Each alert, in each severity and window, fires in a test and is silent in another."""
    fires, silent, known = set(), set(), {}
    for _, rule in rules_of(chart):
        if "alert" in rule:
            known.setdefault(rule["alert"], set()).add(variant(rule["labels"]))
    for file in sorted((chart / "rules/tests").glob("*.yaml")):
        for test in yaml.safe_load(file.read_text())["tests"]:
            for check in test.get("alert_rule_test", []):
                name = check["alertname"]
                if name not in known:
                    yield f"tests/{file.name}: there is no alert {name}: a test of it cannot fail"
                    continue
                expected = {variant(alert["exp_labels"]) for alert in check.get("exp_alerts", [])}
                fires |= {(name, one) for one in expected}
                silent |= {(name, one) for one in known[name] - expected}
    for name, variants in sorted(known.items()):
        for one in sorted(variants):
            words = " ".join([name, *filter(None, one)])
            if (name, one) not in fires:
                yield f"{words} fires in no test"
            if (name, one) not in silent:
                yield f"{words} is silent in no test"


def recordings(chart: pathlib.Path) -> set[str]:
    return {rule["record"] for _, rule in rules_of(chart) if "record" in rule}


def asks(chart: pathlib.Path, metrics: Metrics) -> Iterator[str]:
    recorded = recordings(chart)
    for file, rule in rules_of(chart):
        where = f"{file}: {rule.get('alert') or rule['record']}"
        yield from (f"{where}: {problem}" for problem in metrics.problems(rule["expr"], recorded))
        foreign = set(re.findall(r"\b(up|kube_\w+|container_\w+|node_\w+|process_\w+)\b", without_strings(rule["expr"]))) - FOREIGN
        yield from (f"{where}: {name} is not said by Holdfast" for name in sorted(foreign))
    for file in sorted((chart / "runbooks").glob("*.md")):
        for block in re.findall(r"```promql\n(.*?)```", file.read_text(), flags=re.S):
            yield from (f"runbooks/{file.name}: {problem}" for problem in metrics.problems(block, recorded))


def panels_of(dashboard: dict) -> Iterator[dict]:
    for panel in dashboard["panels"]:
        yield panel
        yield from panel.get("panels", [])


def dashboards(chart: pathlib.Path, metrics: Metrics) -> Iterator[str]:
    recorded, uids = recordings(chart), set()
    for file in sorted((chart / "dashboards").glob("*.json")):
        try:
            dashboard = json.loads(file.read_text())
        except ValueError as error:
            yield f"{file.name}: {error}"
            continue
        variables = {variable["name"] for variable in dashboard["templating"]["list"]}
        if not {"datasource", "namespace", "job"} <= variables:
            yield f"{file.name}: it lacks a variable for datasource, namespace or job"
        if dashboard.get("id") is not None or dashboard.get("uid") in uids | {None, ""}:
            yield f"{file.name}: it must have a uid of its own and no id, which is an installation's"
        uids.add(dashboard.get("uid"))
        if dashboard.get("schemaVersion", 0) < 39:
            yield f"{file.name}: schemaVersion {dashboard.get('schemaVersion')} is old"
        panels = list(panels_of(dashboard))
        ids = [panel["id"] for panel in panels]
        if len(set(ids)) != len(ids):
            yield f"{file.name}: two panels have one id"
        yield from (f"{file.name}: {problem}" for problem in overlaps(dashboard["panels"]))
        for panel in panels:
            if panel["type"] in ("row", "text"):
                continue
            where = f"{file.name}: {panel['title']!r}"
            if not panel.get("description"):
                yield f"{where} does not say what it means"
            if not panel["fieldConfig"]["defaults"].get("unit"):
                yield f"{where} has no unit"
            if panel["datasource"] != {"type": "prometheus", "uid": "${datasource}"}:
                yield f"{where} has a datasource of its own"
            if not panel["targets"]:
                yield f"{where} asks nothing"
            for target in panel["targets"]:
                yield from (f"{where}: {problem}" for problem in metrics.problems(target["expr"], recorded))
                if "$namespace" not in target["expr"]:
                    yield f"{where} asks all namespaces"


def overlaps(panels: list[dict]) -> Iterator[str]:
    taken: dict[tuple[int, int], str] = {}
    for panel in panels:
        at = panel["gridPos"]
        if at["x"] + at["w"] > 24:
            yield f"{panel['title']!r} is wider than the page"
        for x in range(at["x"], at["x"] + at["w"]):
            for y in range(at["y"], at["y"] + at["h"]):
                if (x, y) in taken:
                    yield f"{panel['title']!r} lies on {taken[x, y]!r}"
                    return
                taken[x, y] = panel["title"]


def plain(expression: str) -> str:
    """A dashboard's query with its variables filled in."""
    for variable, value in [("$__rate_interval", "1m"), ("$__interval", "1m"), ("$__range", "1h"), ("$namespace", ".*"), ("$job", ".*"), ("$connection", ".*")]:
        expression = expression.replace(variable, value)
    return expression


def expressions(chart: pathlib.Path) -> Iterator[tuple[str, str]]:
    """Whatever dashboards and runbooks ask Prometheus, by where it stands."""
    for file in sorted((chart / "dashboards").glob("*.json")):
        for panel in panels_of(json.loads(file.read_text())):
            for target in panel.get("targets", []):
                yield f"{file.name}: {panel['title']!r}", plain(target["expr"])
    for file in sorted((chart / "runbooks").glob("*.md")):
        for block in re.findall(r"```promql\n(.*?)```", file.read_text(), flags=re.S):
            for expression in block.strip().split("\n"):
                yield f"runbooks/{file.name}", expression


def promtool(program: str, chart: pathlib.Path) -> Iterator[str]:
    def run(*words: str) -> tuple[int, str]:
        done = subprocess.run([program, *words], capture_output=True, text=True, check=False)
        return done.returncode, (done.stdout + done.stderr).strip()

    files = sorted(str(file) for file in (chart / "rules").glob("*.yaml"))
    code, said = run("check", "rules", *files)
    if code:
        yield f"promtool check rules: {said}"
    for file in sorted((chart / "rules/tests").glob("*.yaml")):
        code, said = run("test", "rules", str(file))
        if code:
            yield f"promtool test rules {file.name}: {said}"
    # promtool parses no bare expression without a server, but it parses rules: all at once, and one by one only to say which is wrong.
    asked = list(expressions(chart))
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "queries.yaml"

        def parses(queries: list[tuple[str, str]]) -> tuple[bool, str]:
            rules = [{"record": f"query:{number}", "expr": expression} for number, (_, expression) in enumerate(queries)]
            file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
            code, said = run("check", "rules", str(file))
            return code == 0, said

        if asked and not parses(asked)[0]:
            for where, expression in asked:
                good, said = parses([(where, expression)])
                if not good:
                    yield f"{where}: {said}\n  {expression}"


def main() -> int:
    here = pathlib.Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--promtool", default="promtool")
    parser.add_argument("--chart", type=pathlib.Path, default=here / "holdfast")
    arguments = parser.parse_args()
    if not shutil.which(arguments.promtool):
        print(f"there is no {arguments.promtool}; it comes with Debian's package prometheus", file=sys.stderr)
        return 2
    chart = arguments.chart
    metrics = Metrics(chart / "metrics.txt")
    problems = [*alerts(chart), *tested(chart), *asks(chart, metrics), *dashboards(chart, metrics), *promtool(arguments.promtool, chart)]
    for problem in problems:
        print(problem, file=sys.stderr)
    count = sum(1 for _, rule in rules_of(chart) if "alert" in rule)
    if not problems:
        print(f"{count} alerts, {len(recordings(chart))} recordings, {sum(1 for _ in expressions(chart))} queries of dashboards and runbooks: all well")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
