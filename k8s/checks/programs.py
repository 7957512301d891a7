"""Asks the real programs whether they would take what the chart gives them.

`holdfast-SERVICE config` prints the effective configuration and refuses unknown keys and values out of their range. It gets exactly the rendered variables and
file; only the folder of the secrets is another one, with contents that are made up.
"""

from __future__ import annotations

import pathlib
import re
import subprocess
import tempfile
import tomllib
from collections.abc import Iterator

import objects
import restricted
from chart import Rendered

CONFIG = "/etc/holdfast/config.toml"

# What stands in a Secret: by the end of the key that names its file. A token is made for each file, as two may not be the same.
CONTENTS = [
    (r"gate.*url_file$", "redis://user:password@redis:6379"),
    (r"url_file$", "postgres://user:password@postgres:5432/database"),
    (r"password_file$", "a-password"),
    (r"token_file$", ""),
]


class Programs:
    """The built programs, one for each role: what ./dev builds. The image's one program is the same code below one name."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder

    def command(self, *words: str) -> list[str]:
        role, *rest = words
        return [str(self.folder / ("holdctl" if role == "ctl" else f"holdfast-{role}")), *rest]

    def run(self, words: list[str], environment: dict[str, str]) -> tuple[int, str, str]:
        command = self.command(*words)
        try:
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        except FileNotFoundError:
            return 127, "", f"{command[0]} is not built: ./dev chart builds it"
        return done.returncode, done.stdout, done.stderr

    def defaults(self, service: str) -> dict:
        """A service's configuration when only its stores are given."""
        environment = {f"{objects_prefix(service)}__POSTGRES__URL": "postgres://postgres/database"}
        code, out, err = self.run([service, "config"], environment | beside_postgres(service))
        if code:
            raise RuntimeError(f"{service} config: {err.strip()}")
        return tomllib.loads(out)


def objects_prefix(service: str) -> str:
    return "HOLDFAST_" + service.upper().replace("-", "_")


def beside_postgres(service: str) -> dict[str, str]:
    """What a service asks for beside its database; its migrations do not."""
    prefix = objects_prefix(service)
    if service == "reservation":
        return {f"{prefix}__GATE__URL": "redis://redis"}
    if service == "vendor-sync":
        return {f"{prefix}__{other}__ENDPOINT": "http://other" for other in ("CATALOG", "RESERVATION")}
    return {}


def configurations(r: Rendered, programs: Programs) -> Iterator[str]:
    """Every program takes its configuration: in its pod, in its init container, in its Job."""
    for owner, template in r.pods():
        for container in restricted.containers(template["spec"]):
            service = (container.get("args") or [""])[0]
            if service not in objects.SERVICES:
                continue
            where = f"{owner['metadata']['name']}, {container['name']}"
            code, _, err = programs.run([*container["args"], "--help"], {})
            if code:
                yield f"{where}: `{' '.join(container['args'])}` is no command: {err.strip().splitlines()[:1]}"
            code, out, err = _configured(r, template["spec"], container, programs)
            if code:
                yield f"{where}: the program refuses its configuration: {err.strip()}"
            elif container["args"][1:] == ["serve"]:
                yield from (f"{where}: {problem}" for problem in _agrees(tomllib.loads(out), template["spec"], container))


def _configured(r: Rendered, spec: dict, container: dict, programs: Programs) -> tuple[int, str, str]:
    environment = {variable["name"]: str(variable.get("value", "from-a-secret")) for variable in container.get("env") or []}
    config = next((v["configMap"]["name"] for v in spec.get("volumes") or [] if v["name"] == "config"), "")
    text = ((r.named("ConfigMap", config) or {}).get("data") or {}).get("config.toml", "")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        secrets = f"{folder}/secrets/"
        named = re.findall(r'([a-z_]+)\s*=\s*"(/run/secrets/holdfast/[^"]+)"', _with_sections(text))
        named += [(key.lower(), value) for key, value in environment.items()]
        for path in objects.secret_files(spec):
            key = next((key for key, value in named if value == path), "")
            section = "gate" if "redis" in path or "gate" in key else ""
            content = next((text for pattern, text in CONTENTS if re.search(pattern, f"{section}.{key}")), "a certificate")
            file = pathlib.Path(path.replace(objects.SECRETS, secrets))
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content or f"a long token of {path}\n", encoding="utf-8")
        (folder / "config.toml").write_text(text.replace(objects.SECRETS, secrets), encoding="utf-8")
        environment = {
            key: value.replace(objects.SECRETS, secrets).replace(CONFIG, f"{folder}/config.toml") for key, value in environment.items()
        }
        service, command = container["args"][:2]
        if command == "migrate":
            environment |= beside_postgres(service)
        code, out, err = programs.run([service, "config"], environment)
        return code, out, err.replace(str(folder), "…")


def _with_sections(text: str) -> str:
    """Keys of [gate] are marked, so that a URL of Redis is told from one of Postgres."""
    out, section = [], ""
    for line in text.splitlines():
        if match := re.match(r"\[(\w+)\]", line):
            section = match[1]
        out.append(re.sub(r"^(\w+) =", r"gate_\1 =", line) if section == "gate" else line)
    return "\n".join(out)


def _agrees(effective: dict, spec: dict, container: dict) -> Iterator[str]:
    """The effective configuration and the pod say the same: ports, and how long an orderly end takes."""
    server = effective["server"]
    opened = {port["name"]: port["containerPort"] for port in container["ports"]}
    for name, key in (("grpc", "grpc_listen"), ("admin", "admin_listen")):
        host, _, port = server[key].rpartition(":")
        if int(port) != opened[name]:
            yield f"listens on {port} for {name}, but its port is {opened[name]}"
        if host in ("127.0.0.1", "[::1]", "localhost"):
            yield f"listens on {host} for {name}: nobody outside of the pod reaches it"
    sleep = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    needed = sleep + server["drain_seconds_max"] + objects.FLUSH_SECONDS
    if spec["terminationGracePeriodSeconds"] < needed:
        yield f"ends in up to {needed} s, but is killed after {spec['terminationGracePeriodSeconds']} s"


def default_ports(values: dict, programs: Programs) -> Iterator[str]:
    """The chart's ports are the services' own, so that a person finds them where the README of the service says."""
    for service in objects.SERVICES:
        section = values["vendorSync" if service == "vendor-sync" else service]["ports"]
        try:
            server = programs.defaults(service)["server"]
        except RuntimeError as error:
            yield str(error)
            continue
        for name, key in (("grpc", "grpc_listen"), ("admin", "admin_listen")):
            port = int(server[key].rpartition(":")[2])
            if port != section[name]:
                yield f"{service}: values.yaml says port {section[name]} for {name}, the service's default is {port}"


def vendor_sync_memory(r: Rendered, programs: Programs) -> Iterator[str]:
    """The memory limit of vendor-sync holds the files and rows that its configuration lets in."""
    deployment = next(item for item in r.of("Deployment") if objects.component(item["metadata"]["labels"]) == "vendor-sync")
    spec = deployment["spec"]["template"]["spec"]
    code, out, _ = _configured(r, spec, spec["containers"][0], programs)
    if code:
        return
    c = tomllib.loads(out)
    files = (c["uploads"]["at_once_max"] + 3 * c["runs"]["connections_at_once_max"]) * c["uploads"]["file_bytes_max"]
    needed = files + c["runs"]["connections_at_once_max"] * c["runs"]["rows_max"] * 512
    limit = _bytes(spec["containers"][0]["resources"]["limits"]["memory"])
    if limit < needed:
        yield f"{deployment['metadata']['name']}: a memory limit of {limit >> 20} MiB, but full files and rows take {needed >> 20} MiB"


def _bytes(text: str) -> int:
    number, unit = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", str(text)).groups()
    factors = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
    return int(float(number) * factors[unit])


def operated(r: Rendered, programs: Programs) -> Iterator[str]:
    """In every service's pod holdctl finds all three services, by variables that it reads."""
    _, said, _ = programs.run(["ctl", "audit", "run", "--help"], {})
    for item in r.of("Deployment"):
        main = item["spec"]["template"]["spec"]["containers"][0]
        given = {variable["name"]: variable.get("value", "") for variable in main["env"]}
        for service in objects.SERVICES:
            name = f"{objects_prefix(service)}_ENDPOINT"
            if f"[env: {name}]" not in said:
                yield f"holdctl reads no variable {name}"
            host, _, port = given.get(name, "").removeprefix("http://").partition(":")
            behind = r.named("Service", host)
            if not behind or objects.component(behind["metadata"]["labels"]) != service:
                yield f"{item['metadata']['name']}: {name} is {given.get(name)!r}, which is not the Service of {service}"
            elif port not in [str(one["port"]) for one in behind["spec"]["ports"] if one["name"] == "grpc"]:
                yield f"{item['metadata']['name']}: {name} names the port {port}, which is not the one for gRPC"


def printed(r: Rendered, programs: Programs, chart: pathlib.Path) -> Iterator[str]:
    """What is printed for people runs: holdctl has the commands and options, the pod is there and has the token."""
    texts = {path.relative_to(chart): path.read_text(encoding="utf-8") for path in sorted(chart.rglob("*.md"))}
    seen: dict[tuple[str, ...], str] = {}
    for where, text in (texts | {"NOTES": r.notes}).items():
        for name, token in re.findall(r"exec deploy/(\S+) -- /holdfast ctl --token-file (\S+)", text):
            deployment = r.named("Deployment", name)
            if not deployment:
                yield f"{where}: there is no Deployment {name}"
            elif token not in objects.secret_files(deployment["spec"]["template"]["spec"]):
                yield f"{where}: the pods of {name} have no file {token}"
        for line in re.findall(r"(?:^ *|`|/holdfast )(?:holdctl|ctl) ([^`\n]*)", text, re.MULTILINE):
            words = re.sub(r"--token-file \S+", "", line).split("'")[0].split()
            command = tuple(word for word in words[: next((i for i, word in enumerate(words) if not re.fullmatch(r"[a-z][a-z-]*", word)), len(words))])
            if command and command not in seen:
                code, out, err = programs.run(["ctl", *command, "--help"], {})
                seen[command] = out if code == 0 else ""
                if code:
                    yield f"{where}: `holdctl {' '.join(command)}` is no command: {err.strip().splitlines()[:1]}"
            for option in re.findall(r"(?<!\S)(--[a-z-]+)", line) if command and seen[command] else []:
                if not re.search(rf"{option}\b", seen[command]):
                    yield f"{where}: `holdctl {' '.join(command)}` has no option {option}"


def canary(r: Rendered, programs: Programs) -> Iterator[str]:
    """The test's pod calls a command that there is, with variables that it knows."""
    for item in r.of("Pod"):
        for container in item["spec"]["containers"]:
            if container["args"][0] != "ctl":
                continue
            environment = {variable["name"]: variable.get("value", "") for variable in container.get("env") or []}
            code, out, err = programs.run([*container["args"], "--help"], environment)
            if code:
                yield f"Pod {item['metadata']['name']}: `{' '.join(container['args'])}` is no command: {err.strip().splitlines()[:1]}"
                continue
            for name in environment:
                if name.startswith("HOLDFAST_") and not re.search(rf"\[env: {name}[=\]]", out):
                    yield f"Pod {item['metadata']['name']}: the command reads no variable {name}"
