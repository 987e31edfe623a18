"""Dagster's web server, which puts runs into the queue."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from textwrap import shorten
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

import dagster as dg

from pipelines.errors import CommandError
from pipelines.instance import LOCATION, REPOSITORY

if TYPE_CHECKING:
    from dagster_graphql import DagsterGraphQLClient

__all__ = ["Server", "ServerAway", "ServerFailed"]

T = TypeVar("T")
ANSWERS_WITHIN, STARTS_WITHIN = 60, 30  # seconds
LOOK = 1.0  # seconds between two looks whether it has started
SHORT = 160  # characters of an error of the server's


class ServerAway(CommandError):
    """Nothing answers at the address of the web server, or it cannot do its work now."""


class ServerFailed(ServerAway):
    """Something failed in it; a run may have been created that is not in the queue."""


class Server:
    """The web server at `address`: host:port, or a URL. Every method raises ServerAway where nothing answers there, and
    CommandError where it does not do what it is asked."""

    def __init__(self, address: str) -> None:
        self.address = address if "://" in address else f"http://{address}"

    def check(self) -> None:
        """Wait until it answers, as it may have been started a moment ago; raise ServerAway if it does not."""
        from requests import RequestException, get

        deadline = time.monotonic() + STARTS_WITHIN
        while True:
            try:
                get(f"{self.address}/server_info", timeout=ANSWERS_WITHIN).raise_for_status()
                return
            except RequestException as error:
                if time.monotonic() > deadline:
                    raise self._away() from error
            time.sleep(LOOK)

    def submit(self, job: str, assets: Sequence[dg.AssetKey], tags: Mapping[str, str]) -> str:
        """Put a run of `job` on some of its assets into the queue; return its id."""

        def submit(client: DagsterGraphQLClient) -> str:
            return client.submit_job_execution(job, LOCATION, REPOSITORY, tags=dict(tags), asset_selection=list(assets))

        try:
            return self._ask(submit)
        except ServerAway:
            raise
        except CommandError:  # what it has loaded may be older than the registry
            self._ask(lambda client: client.reload_repository_location(LOCATION))
            return self._ask(submit)

    def _ask(self, what: Callable[[DagsterGraphQLClient], T]) -> T:
        from dagster_graphql import DagsterGraphQLClient, DagsterGraphQLClientError

        url = urlsplit(self.address)
        try:
            return what(
                DagsterGraphQLClient(
                    url.hostname or "",
                    port_number=url.port,
                    use_https=url.scheme == "https",
                    timeout=ANSWERS_WITHIN,
                    path_prefix=url.path.rstrip("/"),
                )
            )
        except DagsterGraphQLClientError as error:
            if error.__cause__ is not None:  # the request did not get through
                raise self._away() from error
            if error.args[0] == "PythonError":  # as after a restart of the database, whose connections are dead then
                reason = shorten(error.args[1], SHORT)
                raise ServerFailed(f"The web server at {self.address} failed: {reason}") from error
            raise CommandError(f"The web server at {self.address} refuses: {error}.") from error

    def _away(self) -> ServerAway:
        return ServerAway(
            f"No Dagster web server answers at {self.address}: runs are put into the queue through it. Start it "
            "(`embedllm ui`, or the one of your deployment), or set EMBEDLLM_WEBSERVER to its address."
        )
