"""What a server of this home serves by: the version in use, the registry and its policies."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from assets.inputs.versions import fetch_results, serving
from harness.registry import load_policies

from .settings import Settings, home_of, registry_folder, registry_in_force

if TYPE_CHECKING:
    from server.snapshot import Snapshot

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
        return version, *_stamps(files)

    def load(self) -> Snapshot:
        """Load the router. Raises EmbedderError or RegistryError where there is none, or it cannot be used."""
        from assets.embedding.serving import open_router, serving_version
        from server.snapshot import Snapshot

        home = home_of(self.settings)
        fetch_results(home)
        registry = registry_in_force(self.settings)
        policies = load_policies(registry, self.settings.home)
        router = open_router(home)
        return Snapshot(router, serving_version(home), {model.name: model for model in registry.models}, policies)


@dataclass(frozen=True)
class FolderSource:
    """A router that was exported into a folder, beside the registry of the settings."""

    settings: Settings
    folder: Path

    def state(self) -> Hashable:
        registry = registry_folder(self.settings)
        return tuple(_stamps([*sorted(self.folder.glob("*")), *(registry / name for name in _FILES)]))

    def load(self) -> Snapshot:
        """Load the router. Raises EmbedderError or RegistryError where it cannot be used."""
        from embedder.bundle import load_bundle
        from harness.registry import load_registry
        from server.snapshot import Snapshot

        registry = load_registry(registry_folder(self.settings), self.settings.home)
        policies = load_policies(registry, self.settings.home)
        bundle = load_bundle(self.folder, device=self.settings.device)
        models = {model.name: model for model in registry.models}
        return Snapshot(bundle.router, bundle.info.embedder, models, policies)


def _stamps(files: Iterable[Path]) -> Iterator[tuple[str, int, int]]:
    """Yield what files look like from outside; those that are not there are left out."""
    for file in files:
        try:
            found = file.stat()
        except FileNotFoundError:
            continue
        yield str(file), found.st_ino, found.st_mtime_ns
