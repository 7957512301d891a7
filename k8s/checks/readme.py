"""The table of values in README.md, made from values.yaml's comments."""

from __future__ import annotations

import json
import pathlib

import values as documented
from values import Value

BEGIN = "<!-- Made by ./dev chart --write from values.yaml; do not edit. -->"
END = "<!-- End of what ./dev chart --write makes. -->"


def make(root: pathlib.Path, text: str) -> str:
    """README's text with its table made anew.

    Raises ValueError when the two marks are not there.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"k8s/holdfast/README.md lacks one of its marks:\n{BEGIN}\n{END}")
    return f"{before}{BEGIN}\n\n{table(documented.read(root / 'k8s/holdfast/values.yaml'))}\n{END}{after}"


def table(values: dict[str, Value]) -> str:
    rows = ["| value | default | what it is for |", "|---|---|---|"]
    for value in documented.walk(values):
        if value.children is None:
            rows.append(f"| `{value.name}` | {_default(value)} | {_about(value)} |")
        elif value.inherits:
            rows.append(f"| `{value.name}.*` | | Every value of `{value.inherits}`, laid over it. |")
    return "\n".join(rows) + "\n"


def _default(value: Value) -> str:
    text = json.dumps(value.default, ensure_ascii=False)
    return f"`{text}`" if len(text) <= 60 else "see values.yaml"


def _about(value: Value) -> str:
    about = value.about or "Of this service; see `defaults`."
    choices = value.schema.get("enum")
    if choices and not all(f"`{choice}`" in about for choice in choices):
        about += " One of " + ", ".join(f"`{choice}`" if choice else "nothing" for choice in choices) + "."
    return about.replace("|", "\\|")
