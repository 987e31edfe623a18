from collections.abc import Iterator

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from .fakes import Given, Served, Upstream, running, running_upstream, snapshot


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with running_upstream() as started:
        yield started


@pytest.fixture
def served(upstream: Upstream) -> Iterator[Served]:
    with running(Given(snapshot(upstream.url))) as started:
        yield started
