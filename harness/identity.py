"""Which weights a model entry means: the answer decides whether old answers still hold.

A hub name is resolved to its commit, a local folder to the SHA-256 of its files, a server to address and
model name (what stands behind a server cannot be seen from here).
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from .digests import digest_of, file_digest
from .errors import ModelIncomplete, ModelNotFound, Stage, explained
from .registry import ModelEntry

__all__ = [
    "check_files",
    "check_hub",
    "determining_args",
    "input_versions",
    "is_local",
    "is_server",
    "local_folder",
    "local_versions",
    "pinned_args",
    "weights_of",
]

# lm-eval's arguments that name a folder or hub repository
WEIGHT_ARGS = ("pretrained", "tokenizer", "peft", "delta", "lora_local_path")
MODEL_FILES = (
    ".safetensors", ".bin", ".pt", ".pth", ".gguf", ".json", ".txt", ".model", ".tiktoken", ".jinja", ".py"
)  # fmt: skip


WEIGHT_FILES = (".safetensors", ".bin", ".pt", ".pth", ".gguf")
LFS_POINTER = b"version https://git-lfs.github.com/spec/"


def is_server(entry: ModelEntry) -> bool:
    return entry.backend in ("local-completions", "local-chat-completions")


def pinned_args(entry: ModelEntry) -> dict[str, Any]:
    """The arguments with which to load the model: a branch of the hub becomes the commit it stands for now.

    Loading by commit makes sure that what is loaded is what was identified. Where a tokenizer or adapter
    comes from a repository of its own, the branch stays: lm-eval uses one revision for all.
    """
    args = dict(entry.args)
    if is_server(entry):
        return args
    repositories = {args[name] for name in WEIGHT_ARGS if name in args and local_folder(args[name]) is None}
    if repositories == {args["pretrained"]}:
        args["revision"] = _commit(entry, "pretrained")
    return args


def determining_args(entry: ModelEntry) -> dict[str, Any]:
    """What of the entry determines the answers, free of this machine's paths.

    Raises ModelNotFound where a folder or hub repository cannot be found.
    """
    args = {**entry.as_written.args, **input_versions(entry)}
    if not is_server(entry):
        args.pop("revision", None)  # the commit says it
    return {
        "backend": entry.backend,
        "args": args,
        "chat": entry.apply_chat_template,
        "trust_remote_code": entry.trust_remote_code,
        **({"truncation": entry.truncation} if entry.truncation == "refuse" else {}),
    }


def input_versions(entry: ModelEntry) -> dict[str, str]:
    """By argument that names weights, a tokenizer or an adapter: which version of it that is now.

    Of a model behind a server, only a tokenizer in a folder can be told: the prompts are its tokens.
    Raises ModelNotFound where a folder or hub repository cannot be found.
    """
    if is_server(entry):
        return local_versions(entry)
    return {name: _weights(entry, name) for name in WEIGHT_ARGS if name in entry.args}


def local_versions(entry: ModelEntry) -> dict[str, str]:
    """`input_versions` of what lies on this machine; what cannot be found is left out. Asks no hub."""
    found = {}
    for name in ("tokenizer",) if is_server(entry) else WEIGHT_ARGS:
        if name in entry.args and (folder := _subfolder(entry, name)) and _holds_model(folder):
            found[name] = _weights(entry, name)
    return found


def is_local(entry: ModelEntry) -> bool:
    """Whether all that the model is made of lies on this machine."""
    return not is_server(entry) and local_versions(entry).keys() == set(WEIGHT_ARGS) & entry.args.keys()


def check_files(entry: ModelEntry) -> None:
    """Raise ModelIncomplete where a file of a local model is a stand-in for the real one."""
    for name in WEIGHT_ARGS:
        folder = _subfolder(entry, name) if name in entry.args else None
        for file in _model_files(folder) if folder and folder.is_dir() else [folder] if folder else []:
            if not file.is_file():
                continue
            with file.open("rb") as content:
                start = content.read(len(LFS_POINTER))
            if start == LFS_POINTER:
                raise ModelIncomplete(
                    f"{file} is a pointer of git-lfs and not the file itself; run `git lfs pull` in {file.parent}"
                )
            if not start and file.suffix in WEIGHT_FILES:
                raise ModelIncomplete(f"{file} is empty; download or export the model again")


def weights_of(entry: ModelEntry) -> str:
    """`folder sha256:…`, `hub org/name@commit` or `server url#name`, for the record."""
    if is_server(entry):
        return f"server {entry.args['base_url']}#{entry.args['model']}"
    return _weights(entry, "pretrained")


def check_hub(models: Sequence[ModelEntry]) -> None:
    """Fail once instead of once a model where all of `models` must come from a hub that is out of reach.

    Raises ModelNotFound.
    """
    if not models or any(is_server(entry) or _is_here(entry) for entry in models):
        return
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    first = models[0]
    try:
        HfApi().model_info(str(first.args["pretrained"]), timeout=10)
    except HfHubHTTPError:
        return  # it answers: whether it has this model, the evaluation will tell
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        problem = (
            f"this and {len(models) - 1} other models to evaluate come from the hub, which cannot be reached "
            f"({reason}); run this where the hub or its cache is within reach, and a GPU for models of this size"
        )
        raise ModelNotFound(problem, model=first.name) from error


def _is_here(entry: ModelEntry) -> bool:
    """Whether the model lies in a local folder or in the hub's local cache."""
    from huggingface_hub import try_to_load_from_cache

    revision = str(entry.args.get("revision", "main"))
    name = str(entry.args["pretrained"])
    return local_folder(name) is not None or isinstance(
        try_to_load_from_cache(name, "config.json", revision=revision), str
    )


def _weights(entry: ModelEntry, name: str) -> str:
    folder = _subfolder(entry, name)
    if folder is None:
        return f"hub {entry.args[name]}@{_commit(entry, name)}"
    if not _holds_model(folder):
        found = "holds no model" if folder.is_dir() else "does not exist"
        problem = f"args.{name} names the folder {folder}, which {found}; correct the path or put the model there"
        raise ModelNotFound(problem, model=entry.name)
    if folder.is_file():
        return f"file sha256:{file_digest(folder)}"
    return f"folder sha256:{digest_of({file.name: file_digest(file) for file in _model_files(folder)})}"


def _subfolder(entry: ModelEntry, name: str) -> Path | None:
    folder = local_folder(entry.args[name])
    return None if folder is None else folder / str(entry.args.get("subfolder", ""))


def _holds_model(folder: Path) -> bool:
    return folder.is_file() or bool(_model_files(folder))


def _model_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix in MODEL_FILES and path.is_file())


def local_folder(name: Any) -> Path | None:
    """The local folder `name` means, None for a hub name; like transformers, a folder that exists wins."""
    path = Path(str(name)).expanduser()
    looks_like_path = re.fullmatch(r"[\w.-]+(/[\w.-]+)?", str(name)) is None or str(name).startswith(".")
    return path if looks_like_path or path.is_dir() else None


def _commit(entry: ModelEntry, name: str) -> str:
    with explained(Stage.MODEL, model=entry.name):
        return _resolved(str(entry.args[name]), str(entry.args.get("revision", "main")))


@lru_cache(maxsize=1024)
def _resolved(repository: str, revision: str) -> str:
    """The commit of a hub repository's revision: asked from the hub or, without it, from its local cache."""
    from huggingface_hub import HfApi, constants, try_to_load_from_cache
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    cached = try_to_load_from_cache(repository, "config.json", revision=revision)
    local = Path(cached).parent.name if isinstance(cached, str) else None
    if local and (constants.HF_HUB_OFFLINE or local == revision):
        return local
    try:
        sha = HfApi().model_info(repository, revision=revision, timeout=10).sha
    except (RepositoryNotFoundError, RevisionNotFoundError):
        raise
    except Exception:
        if local is None:
            raise
        sha = local  # the hub cannot be reached: transformers would load the copy in the cache, too
    if sha is None:
        raise FileNotFoundError(f"the hub names no commit for {repository}@{revision}")
    return sha
