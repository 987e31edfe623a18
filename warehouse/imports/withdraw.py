"""Taking an import back."""

from __future__ import annotations

import json
from collections import Counter

from warehouse.errors import WarehouseError
from warehouse.lake import Lake
from warehouse.lake.answers import SOURCES
from warehouse.lake.events import Event

__all__ = ["remove_import"]


def remove_import(lake: Lake, source: str) -> Counter[str]:
    """Drop all answers of models and benchmarks to which the import `source` contributed, and benchmarks that have no
    answers then. Return how many sets of answers had come from each other source as well: they are gone, too, since
    the lake does not tell whose each answer was.

    Raises WarehouseError where there is no such import.
    """
    in_force, shared = lake.now(), Counter[str]()
    if source not in in_force.imports:
        known = ", ".join(sorted(in_force.imports)) or "none"
        raise WarehouseError(f"There is no import {source}; there are: {known}.")
    with lake.together() as writing:
        remaining = set()
        for _, event in sorted(in_force.answers.items()):
            sources = set(json.loads(event.metadata[SOURCES]))
            if source in sources:
                writing.add(event.again("dropped", "Its import was removed."))
                shared.update(sources - {source})
            else:
                remaining.add(event.benchmark)
        brought = set(in_force.imports[source].metadata["benchmarks"])
        for benchmark in sorted((brought - remaining) & in_force.questions.keys()):
            writing.add(Event("withdrawn", benchmark, source=source))
        writing.add(Event("removed", source=source))
    return shared
