"""Renders the chart and writes its objects down as JSON, for the tests that run them.

rendered.py CHART OUT VALUES…: files of values, later ones over earlier ones. Ends with 1 and Helm's message when Helm refuses them.
"""

from __future__ import annotations

import json
import pathlib
import sys

import chart
import yaml


def overlay(below: dict, above: dict) -> dict:
    """Lays values over values as Helm does with several files: maps are merged, everything else is replaced."""
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = overlay(merged[key], value) if both else value
    return merged


def main(folder: str, out: str, *files: str) -> int:
    values: dict = {}
    for file in files:
        values = overlay(values, yaml.load(pathlib.Path(file).read_text(encoding="utf-8"), Loader=chart.StrictLoader) or {})
    try:
        rendered = chart.render(pathlib.Path(folder), values)
    except chart.Refused as refused:
        print(refused, file=sys.stderr)
        return 1
    pathlib.Path(out).write_text(json.dumps({"objects": rendered.objects}), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
