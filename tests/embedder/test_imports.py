import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "module",
    [
        "embedder",
        "embedder.matrix",
        "embedder.metrics",
        "embedder.predictor",
        "embedder.downstream.forecast",
        "embedder.downstream.routing",
    ],
)
def test_light_modules_load_nothing_heavy(module):
    """Dagster's definitions import these, and must load in a second."""
    heavy = "{'torch', 'sklearn', 'transformers', 'sentence_transformers', 'scipy.stats'} & set(sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", f"import sys, {module}; print({heavy})"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert found.stdout.strip() == "set()"
