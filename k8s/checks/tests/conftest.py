"""Renderings to damage: each test gets a copy of its own."""

import copy
import pathlib
import sys

import pytest

CHECKS = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKS))

import chart  # noqa: E402

ROOT = CHECKS.parent.parent
CHART = ROOT / "k8s/holdfast"


@pytest.fixture(scope="session")
def rendered_once():
    return {name: chart.render(CHART, values, name) for name, values in chart.examples(CHART).items()}


@pytest.fixture
def production(rendered_once):
    return copy.deepcopy(rendered_once["production"])


@pytest.fixture
def smallest(rendered_once):
    return copy.deepcopy(rendered_once["smallest"])


@pytest.fixture
def render():
    """Renders values laid over those of the smallest example."""

    def with_values(values=None, **more):
        given = copy.deepcopy(chart.examples(CHART)["smallest"])
        return chart.render(CHART, given | (values or {}), "test", **more)

    return with_values
