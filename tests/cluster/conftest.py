"""A cluster of two nodes, where the models of the small home are yet to be asked."""

from collections.abc import Iterator

import pytest

from tests.command import Command

from .cluster import Cluster, find_missing, started_cluster


@pytest.fixture(scope="module")
def cluster(small_home: Command, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if missing := find_missing():
        pytest.skip(missing)
    with started_cluster(small_home, tmp_path_factory.mktemp("cluster"), ("one", "two")) as cluster:
        yield cluster
