"""Reads values.yaml with its comments: what each value is for, and what the schema says of it.

The comments are the only place where a value is documented; the schema and README's table are made from them.
"""

from __future__ import annotations

import dataclasses
import pathlib
import re

import yaml


class Undocumented(Exception):
    """values.yaml does not say enough; the message has one line per value."""


@dataclasses.dataclass
class Value:
    """One key of values.yaml."""

    path: tuple[str, ...]
    default: object
    about: str
    schema: dict
    inherits: str | None
    # Of a section, its keys; None of a value that is taken as a whole.
    children: dict[str, "Value"] | None

    @property
    def name(self) -> str:
        return ".".join(self.path)


def read(path: pathlib.Path) -> dict[str, Value]:
    """All of values.yaml.

    Raises Undocumented when a value has no comment, here or where it is inherited from.
    """
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    values = _children(root, (), lines, yaml.safe_load(text))
    problems = [
        f"{value.name}: values.yaml does not say what it is for; write a comment `# -- …` above it"
        for value in walk(values)
        if value.children is None and not value.about and not _inherited(values, value)
    ]
    if problems:
        raise Undocumented("\n".join(problems))
    return values


def walk(values: dict[str, Value]):
    """Every value and section, in the order of the file."""
    for value in values.values():
        yield value
        if value.children is not None:
            yield from walk(value.children)


def at(values: dict[str, Value], path: tuple[str, ...]) -> Value | None:
    """The value at a path."""
    value = None
    for key in path:
        value = values.get(key)
        if value is None:
            return None
        values = value.children or {}
    return value


def unread(values: dict[str, Value], templates: pathlib.Path) -> list[str]:
    """Values that no template reads: a switch that is connected to nothing."""
    read = set().union(*(_reads(path.read_text(encoding="utf-8")) for path in sorted(templates.rglob("*")) if path.is_file()))
    return [
        f"{value.name}: no template reads it; use it or take it out of values.yaml"
        for value in walk(values)
        # The top's own `enabled` is read by Helm, for a parent chart.
        if value.children is None and value.path != ("enabled",) and not read & set(_whole_paths(value.path))
    ]


# What stands before the path of a service's value: its settings are `defaults` with its own section over them, and `postgres` below it.
_SERVICE = "a service"
_ITSELF = "itself"
_SECTIONS = ("defaults", "reservation", "catalog", "vendorSync")


def _whole_paths(path: tuple[str, ...]):
    """Every path by which a template may read a value: its own or, where a section is handed on as a whole, one above it."""
    wholes = [path]
    if path[0] in _SECTIONS:
        wholes.append((_SERVICE, *path[1:]))
    if path[0] == "postgres":
        wholes.append((_SERVICE, *path))
    for whole in wholes:
        yield (*whole, _ITSELF)
        yield from (whole[:cut] for cut in range(2 if whole[0] == _SERVICE else 1, len(whole) + 1))


def _reads(text: str) -> set[tuple[str, ...]]:
    """The paths that a template reads: variables that stand for a section are followed, so that only whole paths count."""
    found, aliases = set(), {"$s": (_SERVICE,)}
    text = re.sub(r"\(default dict (\S+?)\)\.", r"\1.", re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL))
    for action in re.findall(r"{{-?(.*?)-?}}", text, flags=re.DOTALL):
        if "holdfast.overlay" in action:
            # It lays whole sections over others and looks at none of them.
            continue
        if settings := re.match(r"\s*(\$\w+) :?= (?:include \"holdfast.settings\"|get \S+\.Values )", action):
            aliases[settings[1]] = (_SERVICE,)
        elif section := re.fullmatch(r"\s*(\$\w+) :?= (?:default dict |deepCopy )?((?:\$\w*)?(?:\.\w+)+)\s*", action):
            aliases[section[1]] = _path(section[2], aliases)
            # It is a read of this path alone, not of what lies below it.
            found.add((*aliases[section[1]], _ITSELF))
        else:
            code = re.sub(r'"(?:[^"\\]|\\.)*"', '""', action)
            found |= {_path(chain, aliases) for chain in re.findall(r"(?<![\w)\]])\$?\w*(?:\.\w+)+", code)}
    return found


def _path(chain: str, aliases: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    first, *rest = chain.split(".")
    if "Values" in rest:
        return tuple(rest[rest.index("Values") + 1 :])
    if first in aliases:
        return (*aliases[first], *rest)
    # Settings are handed on as `.s`, or are all that there is.
    return (_SERVICE, *(rest[1:] if rest[0] == "s" else rest))


def _inherited(values: dict[str, Value], value: Value) -> Value | None:
    """What a value lays itself over: the same key of the section that a section above it inherits."""
    for cut in range(len(value.path) - 1, 0, -1):
        section = at(values, value.path[:cut])
        if section and section.inherits:
            return at(values, (*section.inherits.split("."), *value.path[cut:]))
    return None


def _children(node: yaml.MappingNode, path: tuple[str, ...], lines: list[str], defaults: dict) -> dict[str, Value]:
    children = {}
    for key_node, value_node in node.value:
        key = key_node.value
        about, schema, inherits = _comment(lines, key_node.start_mark.line, (*path, key))
        default = defaults[key]
        whole = bool({"x-kubernetes", "x-config", "x-alerts", "additionalProperties", "$ref"} & schema.keys())
        nested = isinstance(value_node, yaml.MappingNode) and value_node.value and not whole
        children[key] = Value(
            path=(*path, key),
            default=default,
            about=about,
            schema=schema,
            inherits=inherits,
            children=_children(value_node, (*path, key), lines, default) if nested else None,
        )
    return children


def _comment(lines: list[str], line: int, path: tuple[str, ...]) -> tuple[str, dict, str | None]:
    first = line
    while first > 0 and lines[first - 1].strip().startswith("#"):
        first -= 1
    about, schema, inherits = [], {}, None
    for text in (raw.strip().lstrip("#").strip() for raw in lines[first:line]):
        if text.startswith("@schema "):
            schema = yaml.safe_load(text.removeprefix("@schema "))
            if not isinstance(schema, dict):
                raise Undocumented(f"{'.'.join(path)}: what follows @schema is no mapping")
        elif text.startswith("@inherits "):
            inherits = text.removeprefix("@inherits ").strip()
        elif text.startswith("@"):
            raise Undocumented(f"{'.'.join(path)}: nobody knows {text.split()[0]} (there is @schema and @inherits)")
        elif text.startswith("-- "):
            about = [text.removeprefix("-- ")]
        elif about and text:
            about.append(text)
    return re.sub(r"\s+", " ", " ".join(about)), schema, inherits
