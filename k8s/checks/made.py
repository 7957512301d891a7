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


def secret_command(root: pathlib.Path, r: Rendered) -> Iterator[str]:
    """The Secrets that an example looks for are made by README's command or named in its own header; and nothing else is."""
    chart = root / "k8s/holdfast"
    command = re.search(r"create secret generic (\S+)(.*?)\n```", (chart / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    if not command:
        yield "k8s/holdfast/README.md does not print `kubectl … create secret generic …`"
        return
    made = {f"{command[1]}, key {key}" for key in re.findall(r"--from-literal=([a-z-]+)=", command[2])}
    header = (chart / f"examples/{r.example}.yaml").read_text(encoding="utf-8").partition("\nimage:")[0]
    named = set()
    for name, keys in re.findall(r"^#   ([a-z0-9-]+): ([a-z0-9., -]+)", header, re.MULTILINE):
        named |= {f"{name}, key {key}" for key in re.split(r", | ", keys.strip())}
    wanted = {where.partition(" ")[2] for _, template in r.pods() for where in objects.secret_files(template["spec"]).values()}
    yield from (f"neither README's command nor the header of examples/{r.example}.yaml has {what}" for what in sorted(wanted - made - named))
    yield from (f"the header of examples/{r.example}.yaml has {what}, for which nobody looks" for what in sorted(named - wanted))
    if r.example == "smallest":
        yield from (f"README's command makes {what}, for which nobody looks" for what in sorted(made - wanted))


def links(chart: pathlib.Path) -> Iterator[str]:
    """Links lead to what is in the package: whoever has only that finds it."""
    for path in sorted(chart.rglob("*.md")):
        text = path.read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            file, _, heading = target.partition("#")
            to = (path.parent / file).resolve() if file else path
            if "://" in target:
                continue
            if not to.is_relative_to(chart.resolve()) or not to.exists():
                yield f"{path.relative_to(chart)}: {target} is not in the package"
            elif heading and heading not in _anchors(to):
                yield f"{path.relative_to(chart)}: {target}: there is no such heading"


def _anchors(path: pathlib.Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^a-z0-9 _-]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands(root: pathlib.Path) -> Iterator[str]:
    """Commands run as they are printed: with the namespace, and logs of several pods with all their lines."""
    chart = root / "k8s/holdfast"
    guides = [root / "README.md", root / "docs/backup.md", chart / "README.md", chart / "UPGRADING.md", *sorted((chart / "examples").rglob("*.yaml"))]
    for path in [*guides, *sorted((chart / "runbooks").glob("*.md")), chart / "templates/NOTES.txt"]:
        for line in re.findall(r"(?:^[# ]*|`|\{ )((?:kubectl|helm) [^`\n]*)", path.read_text(encoding="utf-8"), re.MULTILINE):
            where = f"{path.relative_to(root)}: `{line.strip()}`"
            # One that is only named in a sentence has no object. Runbooks leave the namespace out, as their README says.
            whole = re.match(r"kubectl (-n \S+ )?(get|create|apply|exec|delete|logs|describe|rollout \S+|port-forward) (?!edit-last)\S|helm (-n \S+ )?(install|upgrade|test|rollback|get \S+) \S", line)
            if path in guides and whole and " -n " not in line and not line.startswith("kubectl create namespace"):
                yield f"{where} says no namespace"
            if re.match(r"kubectl .*logs -l ", line) and "--tail" not in line:
                yield f"{where} shows ten lines of each pod; say --tail=-1"


def quoted_examples(root: pathlib.Path) -> Iterator[str]:
    """Where a README shows the smallest values, they are those of the example."""
    example = (root / "k8s/holdfast/examples/smallest.yaml").read_text(encoding="utf-8")
    body = "\n".join(line for line in example.splitlines() if not line.startswith("#"))
    for path in (root / "README.md", root / "k8s/holdfast/README.md"):
        if body not in path.read_text(encoding="utf-8"):
            yield f"{path.relative_to(root)} does not show examples/smallest.yaml as it is"
    if len(body.splitlines()) > 10:
        yield "examples/smallest.yaml has more than ten lines; that is what the chart promises"
