"""Makes values.schema.json: strict everywhere, from values.yaml's comments and the services' own defaults.

`config` of a service knows every key that the service knows, with its type and its comment, but for those that the chart sets itself.
"""

from __future__ import annotations

import json
import pathlib
import re
import tomllib

import yaml

import values as documented
from values import Value

SERVICES = {"reservation": "reservation", "catalog": "catalog", "vendorSync": "vendor-sync"}

# What the chart sets by itself, and the value that does it. A secret (a key with a sibling `…_file`) is never a value and needs no row.
MANAGED = {
    ("server", "grpc_listen"): "listenAddress and ports.grpc",
    ("server", "admin_listen"): "listenAddress and ports.admin",
    ("postgres", "user"): "postgres.user",
    ("postgres", "migrate_user"): "postgres.migrate.user",
    ("callers", "list"): "callers",
    ("gate", "user"): "redis.user",
    ("gate", "mode"): "redis.mode",
    ("gate", "ca_file"): "redis.ca",
    ("gate", "client_cert_file"): "redis.client",
    ("gate", "client_key_file"): "redis.client",
    ("catalog", "endpoint"): "the chart's own Services",
    ("reservation", "endpoint"): "the chart's own Services",
    ("vendor_sync", "endpoint"): "the chart's own Services",
    ("drop", "root"): "vendorSync.drop",
    ("pull", "certificates"): "vendorSync.pull.ca",
    ("pull", "credentials"): "vendorSync.pull.credentials",
}

PROBE = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "initialDelaySeconds": {"type": "integer", "minimum": 0},
        "periodSeconds": {"type": "integer", "minimum": 1},
        "timeoutSeconds": {"type": "integer", "minimum": 1},
        "successThreshold": {"type": "integer", "minimum": 1},
        "failureThreshold": {"type": "integer", "minimum": 1},
    },
}

TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}


def make(root: pathlib.Path) -> dict:
    """The schema of the chart below root (the repository)."""
    chart = root / "k8s/holdfast"
    values = documented.read(chart / "values.yaml")
    maker = _Maker(root, chart, values)
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$comment": "Made by ./dev chart --write from values.yaml and the services' config.default.toml. Do not edit.",
        "title": "Values of the chart holdfast",
        **maker.section(values, ()),
        "definitions": {"probe": PROBE},
    }
    # A parent chart hands down `global` with whatever its other children need.
    schema["properties"]["global"]["additionalProperties"] = True
    removed = yaml.safe_load((chart / "removed.yaml").read_text(encoding="utf-8")) or {}
    for path, hint in removed.items():
        _let_through(schema, path.split("."), hint)
    return schema


def text(schema: dict) -> str:
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def loose(schema: dict, path: str = "") -> list[str]:
    """Where a schema takes keys that nobody knows. What goes to Kubernetes as it is says so (`x-kubernetes`)."""
    found = []
    kind = schema.get("type")
    is_object = kind == "object" or isinstance(kind, list) and "object" in kind and "string" not in kind
    if is_object and "x-kubernetes" not in schema and path != "global":
        if schema.get("additionalProperties", True) is True:
            found.append(f"{path or 'the top'}: takes keys that nobody knows; say additionalProperties or x-kubernetes")
    for key, child in schema.get("properties", {}).items():
        found += loose(child, f"{path}.{key}".lstrip("."))
    if isinstance(schema.get("items"), dict) and "x-kubernetes" not in schema:
        found += loose(schema["items"], f"{path}[]") if schema["items"].get("type") == "object" else []
    return found


def _let_through(schema: dict, path: list[str], hint: str) -> None:
    for key in path[:-1]:
        schema = schema["properties"].setdefault(key, {"type": "object", "additionalProperties": False, "properties": {}})
    schema["properties"].setdefault(path[-1], {"description": f"Removed: {hint}"})


class _Maker:
    def __init__(self, root: pathlib.Path, chart: pathlib.Path, values: dict[str, Value]):
        self.root = root
        self.chart = chart
        self.values = values

    def section(self, children: dict[str, Value], path: tuple[str, ...], inherits: str | None = None) -> dict:
        schema = {"type": "object", "additionalProperties": False, "properties": {}}
        if inherits:
            base = documented.at(self.values, tuple(inherits.split(".")))
            if base is None or base.children is None:
                raise documented.Undocumented(f"{'.'.join(path)}: there is no section {inherits} to inherit from")
            schema = self.section(base.children, path)
        for key, value in children.items():
            own = self.value(value)
            below = schema["properties"].get(key)
            if below and below.get("type") == "object" and below.get("properties") and value.children is not None:
                below["properties"] |= own["properties"]
            else:
                if below and "description" in below:
                    own.setdefault("description", below["description"])
                schema["properties"][key] = own
        if path and path[0] in SERVICES and len(path) == 1:
            schema["properties"]["config"] = self.config(SERVICES[path[0]])
        return schema

    def value(self, value: Value) -> dict:
        if value.children is not None:
            return self.section(value.children, value.path, value.inherits) | value.schema
        if "$ref" in value.schema:
            return {"$ref": value.schema["$ref"].replace("$defs", "definitions")}
        if value.schema.get("x-config"):
            return self.config(None)
        if value.schema.get("x-alerts"):
            return self.alerts(value.about)
        schema = {"description": value.about} if value.about else {}
        if value.default is not None and "enum" not in value.schema:
            schema["type"] = TYPES[type(value.default)]
        schema |= value.schema
        if "x-kubernetes" in schema and schema["type"] == "object":
            # null takes back what the defaults say.
            schema["type"] = ["object", "null"]
        if schema.get("type") == "array" and "items" not in schema:
            raise documented.Undocumented(f"{value.name}: what are its items? Say @schema {{items: …}}")
        return schema

    def alerts(self, about: str) -> dict:
        one = {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "enabled": {"type": "boolean"},
                "for": {"type": "string", "pattern": "^([0-9]+(ms|s|m|h|d|w|y))+$"},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            },
        }
        names = sorted(rule["alert"] for rule in rules(self.chart) if "alert" in rule)
        return {"description": about, "type": "object", "additionalProperties": False, "properties": dict.fromkeys(names, one)}

    def config(self, service: str | None) -> dict:
        """The keys of a service's configuration; without a service, those that all have."""
        files = [self.root / "crates/kit/src/config/common.default.toml"]
        if service:
            files.append(self.root / "services" / service / "config.default.toml")
        sections: dict[str, dict] = {}
        for file in files:
            text = file.read_text(encoding="utf-8")
            for section, keys in tomllib.loads(text).items():
                if isinstance(keys, dict):
                    sections.setdefault(section, {}).update(_keys(text, section, keys))
        about = "Keys of the service's configuration." if service else "Keys of every service's configuration."
        properties = {
            section: {"type": "object", "additionalProperties": False, "properties": keys}
            for section, keys in sections.items()
            if keys
        }
        return {"description": about, "type": "object", "additionalProperties": False, "properties": properties}


def _keys(text: str, section: str, keys: dict) -> dict:
    found = {}
    for key, default in keys.items():
        secret = f"{key}_file" in keys or key.endswith("_file") and key.removesuffix("_file") in keys
        if secret or (section, key) in MANAGED:
            continue
        schema = {"description": _toml_comment(text, section, key), "type": TYPES[type(default)]}
        if schema["type"] == "integer":
            schema["minimum"] = 0
        if schema["type"] == "array":
            schema["items"] = {"type": TYPES[type(default[0])] if default else "string"}
        found[key] = schema
    return found


def _toml_comment(text: str, section: str, key: str) -> str:
    lines = text.splitlines()
    start = lines.index(f"[{section}]")
    line = next(number for number in range(start, len(lines)) if re.match(rf"{re.escape(key)}\s*=", lines[number]))
    about = []
    while line > start + 1 and lines[line - 1].startswith("#"):
        line -= 1
        about.insert(0, lines[line].lstrip("#").strip())
    return " ".join(about)


def rules(chart: pathlib.Path) -> list[dict]:
    """Every rule of Prometheus that the chart brings."""
    found = []
    for file in sorted((chart / "rules").glob("*.yaml")):
        for group in (yaml.safe_load(file.read_text(encoding="utf-8")) or {}).get("groups", []):
            found += group["rules"]
    return found
