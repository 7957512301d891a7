"""Files that are made from others: values.schema.json, README's table, the golden files. `--write` makes them, the check compares."""

from __future__ import annotations

import copy
import difflib
import hashlib
import pathlib
import re
from collections.abc import Iterator

import objects
import readme
import schema
from chart import Rendered


def files(root: pathlib.Path, renderings: list[Rendered]) -> dict[pathlib.Path, str]:
    """What each made file must have."""
    chart = root / "k8s/holdfast"
    made = {
        chart / "values.schema.json": schema.text(schema.make(root)),
        chart / "README.md": readme.make(root, (chart / "README.md").read_text(encoding="utf-8")),
    }
    for r in renderings:
        made[root / f"k8s/golden/{r.example}.yaml"] = golden(r)
    return made


def golden(r: Rendered) -> str:
    """What an example renders, for people who look at differences: dashboards as a digest, of rules what the chart may change. Both lie in files of their own."""
    short = copy.deepcopy(r)
    for item in short.of("ConfigMap"):
        for key, text in item["data"].items():
            if key.endswith(".json"):
                item["data"][key] = f"dashboards/{key.rpartition('-')[2]}, sha256 {hashlib.sha256(text.encode()).hexdigest()}"
    for item in short.of("PrometheusRule"):
        for group in item["spec"]["groups"]:
            for rule in group["rules"]:
                rule["expr"] = f"sha256 {hashlib.sha256(rule['expr'].encode()).hexdigest()[:12]}"
                rule["annotations"] = {key: value for key, value in rule.get("annotations", {}).items() if key.startswith("runbook")}
    return short.text()


def stale(root: pathlib.Path, made: dict[pathlib.Path, str]) -> Iterator[str]:
    """Which of them differ, with the first lines that do."""
    for path, text in made.items():
        there = path.read_text(encoding="utf-8") if path.exists() else ""
        if there != text:
            diff = difflib.unified_diff(there.splitlines(), text.splitlines(), "is", "would be", lineterm="", n=1)
            lines = "\n    ".join(list(diff)[:25])
            yield f"{path.relative_to(root)} is not what the chart makes of it now; look at the difference, then ./dev chart --write\n    {lines}"
    for path in sorted((root / "k8s/golden").glob("*.yaml")):
        if path not in made:
            yield f"{path.relative_to(root)} is no example's any more; remove it"


def write(made: dict[pathlib.Path, str]) -> list[pathlib.Path]:
    """Writes what differs; which."""
    written = []
    for path, text in made.items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            written.append(path)
    return written


def secret_command(root: pathlib.Path, smallest: Rendered) -> Iterator[str]:
    """README's command makes exactly the keys that the smallest example looks for."""
    text = (root / "k8s/holdfast/README.md").read_text(encoding="utf-8")
    command = re.search(r"kubectl create secret generic holdfast(.*?)\n```", text, re.DOTALL)
    if not command:
        yield "k8s/holdfast/README.md does not print `kubectl create secret generic holdfast …`"
        return
    made = set(re.findall(r"--from-literal=([a-z-]+)=", command[1]))
    wanted = set()
    for _, template in smallest.pods():
        wanted |= {where.rpartition(" ")[2] for where in objects.secret_files(template["spec"]).values()}
    yield from (f"README's command does not make the key {key}" for key in sorted(wanted - made))
    yield from (f"README's command makes the key {key}, for which nobody looks" for key in sorted(made - wanted))


def quoted_examples(root: pathlib.Path) -> Iterator[str]:
    """Where a README shows the smallest values, they are those of the example."""
    example = (root / "k8s/holdfast/examples/smallest.yaml").read_text(encoding="utf-8")
    body = "\n".join(line for line in example.splitlines() if not line.startswith("#"))
    for path in (root / "README.md", root / "k8s/holdfast/README.md"):
        if body not in path.read_text(encoding="utf-8"):
            yield f"{path.relative_to(root)} does not show examples/smallest.yaml as it is"
    if len(body.splitlines()) > 10:
        yield "examples/smallest.yaml has more than ten lines; that is what the chart promises"
