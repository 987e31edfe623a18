"""What a user can set, all of it by environment variables that start with EMBEDLLM_."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from assets.workspace import Workspace
from harness.entries import Registry, load_registry
from warehouse.lake import Lake

PROJECT = Path(__file__).resolve().parents[1]
DEMO_REGISTRY = PROJECT / "registry" / "demo"


class Settings(BaseSettings):
    """One class for every setting; each field is read from EMBEDLLM_<FIELD>."""

    model_config = SettingsConfigDict(env_prefix="EMBEDLLM_", extra="ignore", frozen=True, validate_default=True)

    home: Path = Field(default=Path("data"), description="folder that holds all state")
    lake: str | None = Field(
        default=None, description="where the lake is: a folder, s3://, gs:// or az://…; by default lake in the home"
    )
    registry: Path | None = Field(
        default=None,
        description="folder with models.yaml and benchmarks.yaml; registry/demo where nothing was imported",
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

    keep_answers: bool = Field(default=True, description="whether what a model said or chose is kept with its grade")

    @field_validator("home", "registry", mode="after")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        return path.expanduser().resolve() if path else None

    @field_validator("home", mode="after")
    @classmethod
    def _is_folder(cls, home: Path) -> Path:
        if home.exists() and not home.is_dir():
            raise ValueError("it is a file; name a folder")
        return home


def lake_of(settings: Settings) -> Lake:
    return Lake(settings.lake or settings.home / "lake")


def registry_in_force(settings: Settings) -> Registry:
    """The registry asked for; else the demo's, except in a home that holds nothing but imported results: there, none.

    Raises:
        RegistryError: a registry file is missing or malformed.
    """
    if settings.registry:
        return load_registry(settings.registry, settings.home)
    demo = load_registry(DEMO_REGISTRY, settings.home)
    lake = lake_of(settings)
    evaluated = {model for _, model in lake.pairs()}
    if lake.imports() and not evaluated & {model.name for model in demo.models}:
        return Registry(folder=DEMO_REGISTRY, models=(), benchmarks=())
    return demo


def open_workspace(settings: Settings) -> Workspace:
    """What the assets work on, under these settings."""
    return Workspace(
        home=settings.home,
        lake_address=settings.lake,
        registry=registry_in_force(settings),
        encoder=settings.encoder,
        seed=settings.seed,
        device=settings.device,
        keep_answers=settings.keep_answers,
    )
