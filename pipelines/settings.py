"""What a user can set, all of it by environment variables that start with EMBEDLLM_."""

from __future__ import annotations

import shutil
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from assets.inputs.home import Home

from .errors import CommandError

if TYPE_CHECKING:
    from assets.inputs.workspace import Workspace
    from harness.registry import Registry

PROJECT = Path(__file__).resolve().parents[1]
DEMO_REGISTRY = PROJECT / "registry" / "demo"
SHIPPED = (DEMO_REGISTRY, PROJECT / "registry" / "paper")
"""Registries that come with embedllm: they are read, and copied into the home before anything is written."""
COPIED_FROM = "copied_from"
"""In a home's own registry, if it is a copy: a file with the name of the registry that it was copied from."""


class Settings(BaseSettings):
    """One class for every setting; each field is read from EMBEDLLM_<FIELD>."""

    model_config = SettingsConfigDict(
        env_prefix="EMBEDLLM_", env_ignore_empty=True, extra="ignore", frozen=True, validate_default=True
    )

    home: Path = Field(default=Path("data"), description="folder that holds all state")
    lake: str | None = Field(
        default=None, description="where the lake is: a folder, s3://, gs:// or az://…; by default lake in the home"
    )
    registry: Path | None = Field(
        default=None,
        description="folder with models.yaml and benchmarks.yaml; by default registry in the home, else the demo's",
    )
    encoder: str = Field(
        default="static",
        description="question encoder: a sentence-transformers name or folder; static:<one>, distilled from it; "
        "static, distilled from all-MiniLM-L6-v2",
    )
    seed: int = Field(default=0, ge=0, description="seed of everything random")
    device: str | None = Field(default=None, description="torch device; by default the GPU where there is one")
    evaluation_workers: int | None = Field(
        default=None,
        ge=1,
        description="models evaluated at once; by default one a GPU, without GPU one, or a zoo model a core",
    )

    dagster_yaml: Path = Field(
        default=PROJECT / "dagster.yaml", description="Dagster's settings, which are copied into the home"
    )
    webserver: str = Field(
        default="127.0.0.1:3000",
        description="host:port of Dagster's web server, through which runs get to other machines, if they do",
    )
    keep_answers: bool = Field(default=True, description="whether what a model said or chose is kept with its grade")

    @field_validator("home", "registry", "dagster_yaml", mode="after")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        return path.expanduser().resolve() if path else None

    @field_validator("home", mode="after")
    @classmethod
    def _is_folder(cls, home: Path) -> Path:
        if home.exists() and not home.is_dir():
            raise ValueError("it is a file; name a folder")
        return home


def home_of(settings: Settings) -> Home:
    """Return the home of these settings, for whoever only reads results."""
    return Home(settings.home, **_shared(settings))


def open_workspace(settings: Settings) -> Workspace:
    """Return what the assets work on, under these settings.

    Raises:
        RegistryError: a registry file is missing or malformed.
    """
    from assets.inputs.workspace import Workspace

    return Workspace(settings.home, registry_in_force(settings), **_shared(settings))


def _shared(settings: Settings) -> dict[str, Any]:
    return {
        "lake_address": settings.lake,
        "encoder": settings.encoder,
        "seed": settings.seed,
        "device": settings.device,
        "keep_answers": settings.keep_answers,
    }


def registry_in_force(settings: Settings) -> Registry:
    """Return what stands in `registry_folder`. Where nobody has chosen the demo's registry, and the lake holds imported
    results and no answer of the demo's models, that is an empty registry: an import does not train the zoo.

    Raises:
        RegistryError: a registry file is missing or malformed.
    """
    from harness.registry import Registry
    from warehouse.lake.answers import is_evaluated

    folder = registry_folder(settings)
    files = (folder / "models.yaml", folder / "benchmarks.yaml")
    stamps = tuple((file.stat().st_ino, file.stat().st_mtime_ns) for file in files if file.exists())
    registry = _registry(folder, settings.home, stamps)
    if settings.registry or folder != DEMO_REGISTRY:
        return registry
    lake, demo = home_of(settings).lake, {model.name for model in registry.models}
    evaluated = any(is_evaluated(event.metadata) for (_, model), event in lake.now().answers.items() if model in demo)
    imported_only = bool(lake.imports()) and not evaluated
    return Registry(folder=DEMO_REGISTRY, models=(), benchmarks=()) if imported_only else registry


@lru_cache(maxsize=2)  # the sensors look every few seconds, and reading YAML takes longest of what they do
def _registry(folder: Path, home: Path, _: tuple[tuple[int, int], ...]) -> Registry:
    from harness.registry import load_registry

    return load_registry(folder, home)


def registry_folder(settings: Settings) -> Path:
    """Return the folder that EMBEDLLM_REGISTRY names, else the home's own registry, else the demo's. A registry that
    comes with embedllm gives way to the home's copy of it as soon as there is one."""
    own, named = own_registry(settings.home), settings.registry
    if named is None:
        return own if own.is_dir() else DEMO_REGISTRY
    return own if named in SHIPPED and copied_from(own) == named.name else named


def own_registry(home: Path) -> Path:
    """Return where a home's own registry is, if it has one."""
    return home / "registry"


def copied_from(registry: Path) -> str | None:
    """Return the name of the registry that comes with embedllm of which this one is a copy; None where it is none."""
    file = registry / COPIED_FROM
    return file.read_text(encoding="utf-8").strip() if file.exists() else None


def copy_registry(shipped: Path, home: Path) -> None:
    """Make `shipped` the home's own registry, in one step.

    Raises:
        CommandError: the home has another registry of its own.
    """
    own = own_registry(home)
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home, prefix=".registry-") as scratch:
        draft = shutil.copytree(shipped, Path(scratch) / "registry", copy_function=shutil.copyfile)
        (draft / COPIED_FROM).write_text(f"{shipped.name}\n", encoding="utf-8")
        try:
            draft.rename(own)
        except OSError:
            if copied_from(own) == shipped.name:  # another command was faster
                return
            if not own.exists():
                raise
            raise CommandError(
                f"{home} has a registry of its own already, {own}, which is no copy of registry/{shipped.name}: work "
                "with that one (`embedllm run`, without EMBEDLLM_REGISTRY), or set EMBEDLLM_HOME to another folder."
            ) from None
