"""What a server of this home serves by: the version in use, the registry and its policies."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from assets.inputs.versions import fetch_results, serving
from harness.registry import load_policies

from .settings import Settings, home_of, registry_folder, registry_in_force

if TYPE_CHECKING:
    from server.choosing import Snapshot

_FILES = ("models.yaml", "benchmarks.yaml", "policies.yaml")


@dataclass(frozen=True)
class HomeSource:
    """A home, as `server.live.Source`."""

    settings: Settings

    def state(self) -> Hashable:
        """Return the version in use and what the files look like that are read beside it."""
        home = home_of(self.settings)
        version, registry = serving(home.lake), registry_folder(self.settings)
        files = [registry / name for name in _FILES]
        if version is not None:
            files += sorted((home.embedders / version).glob("*.safetensors"))
        return version, *((str(file), *_stamp(file.stat())) for file in files if file.exists())

    def load(self) -> Snapshot:
        """Load the router. Raises EmbedderError or RegistryError where there is none, or it cannot be used."""
        from assets.embedding.serving import open_router, serving_version
        from server.choosing import Snapshot

        home = home_of(self.settings)
        fetch_results(home)
        registry = registry_in_force(self.settings)
        policies = load_policies(registry, self.settings.home)
        router = open_router(home)
        return Snapshot(router, serving_version(home), {model.name: model for model in registry.models}, policies)


def _stamp(stat: object) -> tuple[int, int]:
    return stat.st_ino, stat.st_mtime_ns  # type: ignore[attr-defined]
