"""`./dev chart`: every check of the chart, one line each; what is wrong with a hint below it."""

from __future__ import annotations

import argparse
import concurrent.futures
import os
import pathlib
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import alerts  # noqa: E402
import chart as helm  # noqa: E402
import made  # noqa: E402
import network  # noqa: E402
import objects  # noqa: E402
import outside  # noqa: E402
import programs as asked  # noqa: E402
import schema  # noqa: E402
import values as documented  # noqa: E402


class Report:
    """What was looked at, and how often something was wrong."""

    def __init__(self):
        self.failed = 0

    def say(self, name: str, problems: Iterable[str]) -> None:
        began = time.monotonic()
        try:
            found = list(problems)
        except Exception as error:  # noqa: BLE001 - one broken check must not hide the others
            found = [f"the check itself broke: {type(error).__name__}: {error}"]
        took = time.monotonic() - began
        print(f"{'FAILED  ' if found else 'ok      '} {name}{f' ({took:.0f} s)' if took >= 1 else ''}", flush=True)
        for problem in found:
            print(f"  {problem}", flush=True)
        self.failed += bool(found)


def prefixed(renderings: list[helm.Rendered], check: Callable[[helm.Rendered], Iterable[str]]) -> Iterable[str]:
    """One check on every example; a problem that several share is told once."""
    seen: dict[str, list[str]] = {}
    for r in renderings:
        for problem in check(r):
            seen.setdefault(problem, []).append(r.example)
    return [f"[{', '.join(examples)}] {problem}" for problem, examples in seen.items()]


def sentence(check: Callable) -> str:
    """A check's name for people: the first sentence of its docstring."""
    return (check.__doc__ or check.__name__).strip().splitlines()[0].rstrip(".")


def package(folder: pathlib.Path) -> Iterable[str]:
    """`helm package` packs what users need, and nothing for developers of the chart."""
    with tempfile.TemporaryDirectory() as destination:
        archive = helm.packaged(folder, pathlib.Path(destination))
        with tarfile.open(archive) as tar:
            names = {name.removeprefix("holdfast/") for name in tar.getnames()}
    for name in sorted(names):
        if name.startswith(("rules/tests/", "golden/", "checks/")) or "/." in f"/{name}" and name != ".helmignore":
            yield f"the package has {name}, which is for developers; name it in .helmignore"
    for name in ("values.schema.json", "README.md", "UPGRADING.md", "templates/NOTES.txt"):
        if name not in names:
            yield f"the package lacks {name}"


def tests(folder: pathlib.Path, args: argparse.Namespace) -> Iterable[str]:
    """The checks themselves: each is seen to fail on something that was damaged."""
    command = [sys.executable, "-m", "pytest", "--quiet", "--no-header", "--tb=short", "-p", "no:cacheprovider", str(folder / "tests")]
    environment = os.environ | {"HOLDFAST_PROGRAMS": str(args.programs.resolve()), "HOLDFAST_CHECKOV": str(args.checkov.absolute())}
    if args.promtool:
        environment["HOLDFAST_PROMTOOL"] = str(args.promtool)
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=environment)
    if done.returncode:
        yield done.stdout[-6000:] + done.stderr[-2000:]


def write(root: pathlib.Path, files: dict[pathlib.Path, str]) -> None:
    for path in made.write(files):
        print(f"wrote    {path.relative_to(root)}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev chart", description="Checks the Helm chart.")
    parser.add_argument("--root", type=pathlib.Path, required=True, help="the repository")
    parser.add_argument("--programs", type=pathlib.Path, required=True, help="the folder of the built programs")
    parser.add_argument("--checkov", type=pathlib.Path, required=True, help="checkov's program")
    parser.add_argument("--promtool", type=pathlib.Path, help="promtool")
    parser.add_argument("--write", action="store_true", help="write what is made from other files: schema, table, golden files")
    args = parser.parse_args()
    root, folder = args.root.resolve(), args.root.resolve() / "k8s/holdfast"
    report = Report()

    try:
        values = documented.read(folder / "values.yaml")
        made_schema = schema.make(root)
    except documented.Undocumented as error:
        print(f"FAILED   values.yaml documents every value\n  {error}")
        return 1
    if args.write:
        # Examples are rendered against the schema, so it comes first.
        write(root, {folder / "values.schema.json": schema.text(made_schema)})
    try:
        renderings = [helm.render(folder, given, name) for name, given in helm.examples(folder).items()]
    except helm.Refused as error:
        print(f"FAILED   every example renders\n  {error}")
        return 1
    made_files = made.files(root, renderings)
    if args.write:
        write(root, made_files)

    ask = asked.Programs(args.programs)
    defaults = {key: value.default for key, value in values.items()}
    with concurrent.futures.ThreadPoolExecutor(max_workers=3) as pool:
        slow_tests = pool.submit(lambda: list(tests(pathlib.Path(__file__).parent, args)))
        slow_rules = pool.submit(lambda: list(alerts.well(pathlib.Path(__file__).parent, folder, args.promtool)))
        slow_policies = pool.submit(lambda: list(outside.policies(renderings, args.checkov)))
        report.say("The schema is strict everywhere, and documents every value", schema.loose(made_schema))
        report.say("Every value is read by a template", documented.unread(values, folder / "templates"))
        report.say("Schema, README's table and golden files are what the chart makes now", made.stale(root, made_files))
        smallest = next(r for r in renderings if r.example == "smallest")
        report.say(sentence(made.secret_command), prefixed(renderings, lambda r: made.secret_command(root, r)))
        report.say(sentence(made.links), made.links(folder))
        report.say(sentence(made.commands), made.commands(root))
        report.say("The READMEs show the smallest example as it is, in ten lines", made.quoted_examples(root))
        for name, given in helm.examples(folder).items():
            report.say(f"helm lint, {name}", helm.lint_findings(folder, given))
        for check in objects.CHECKS + network.CHECKS:
            report.say(sentence(check), prefixed(renderings, check))
        report.say(f"Kubernetes' schemas, strictly: {', '.join(outside.VERSIONS)}", prefixed(renderings, outside.schemas))
        report.say(sentence(asked.default_ports), asked.default_ports(defaults, ask))
        for check in (asked.configurations, asked.vendor_sync_memory, asked.operated, asked.canary):
            report.say(sentence(check), prefixed(renderings, lambda r, check=check: check(r, ask)))
        report.say(sentence(asked.printed), asked.printed(smallest, ask, folder))
        for check in (alerts.named, alerts.dashboards):
            report.say(sentence(check), check(folder))
        report.say(sentence(alerts.rendered), prefixed(renderings, lambda r: alerts.rendered(r, folder)))
        report.say(sentence(alerts.rendered_rules), prefixed(renderings, lambda r: alerts.rendered_rules(r, args.promtool)))
        report.say(sentence(package), package(folder))
        report.say(sentence(alerts.well), slow_rules.result())
        report.say(sentence(outside.policies), slow_policies.result())
        report.say(sentence(tests), slow_tests.result())
    if report.failed:
        print(f"\n{report.failed} checks of the chart failed.")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
