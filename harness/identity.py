"""Which weights an entry means, which decides whether old answers still hold.

A hub name stands for a commit, a local folder for the SHA-256 of its files, a server for its address and the model's
name (what is behind a server cannot be seen from here).
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
    """Return the arguments with which to load the model: a branch of the hub becomes its present commit.

    So what is loaded is what was identified. Where a tokenizer or adapter comes from a repository of its own, the
    branch stays: lm-eval uses one revision for all.
    """
    args = dict(entry.args)
    if is_server(entry):
        return args
    repositories = {args[name] for name in WEIGHT_ARGS if name in args and local_folder(args[name]) is None}
    if repositories == {args["pretrained"]}:
        args["revision"] = _commit(entry, "pretrained")
    return args


def determining_args(entry: ModelEntry) -> dict[str, Any]:
    """Return what of the entry determines the answers, free of this machine's paths.

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
    """Return the present version of weights, tokenizer and adapters, by the argument that names them.

    Behind a server only a tokenizer in a folder can be seen; the prompts are made of its tokens.
    Raises ModelNotFound where a folder or hub repository cannot be found.
    """
    if is_server(entry):
        return local_versions(entry)
    return {name: _weights(entry, name) for name in WEIGHT_ARGS if name in entry.args}


def local_versions(entry: ModelEntry) -> dict[str, str]:
    """Return the `input_versions` of what lies on this machine, without what cannot be found. Asks no hub."""
    names = [name for name in (("tokenizer",) if is_server(entry) else WEIGHT_ARGS) if name in entry.args]
    here = [name for name in names if (folder := _subfolder(entry, name)) and _model_files(folder)]
    return {name: _weights(entry, name) for name in here}


def is_local(entry: ModelEntry) -> bool:
    """Whether all that the model is made of lies on this machine."""
    return not is_server(entry) and local_versions(entry).keys() == set(WEIGHT_ARGS) & entry.args.keys()


def check_files(entry: ModelEntry) -> None:
    """Raise ModelIncomplete where a file of a local model is a stand-in for the real one."""
    for name in WEIGHT_ARGS:
        folder = _subfolder(entry, name) if name in entry.args else None
        for file in _model_files(folder) if folder else ():
            with file.open("rb") as content:
                start = content.read(len(LFS_POINTER))
            if start == LFS_POINTER:
                raise ModelIncomplete(
                    f"{file} is a pointer of git-lfs and not the file itself; run `git lfs pull` in {file.parent}"
                )
            if not start and file.suffix in WEIGHT_FILES:
                raise ModelIncomplete(f"{file} is empty; download or export the model again")


def weights_of(entry: ModelEntry) -> str:
    """Return `folder sha256:…`, `hub org/name@commit` or `server url#name`, for the record."""
    if is_server(entry):
        return f"server {entry.args['base_url']}#{entry.args['model']}"
    return _weights(entry, "pretrained")


def check_hub(models: Sequence[ModelEntry]) -> None:
    """Raise ModelNotFound once, and not for each model, where all `models` must come from a hub out of reach."""
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError

    for entry in models:
        if is_server(entry) or local_folder(name := entry.args["pretrained"]) is not None:
            return
        revision = str(entry.args.get("revision", "main"))
        if isinstance(try_to_load_from_cache(str(name), "config.json", revision=revision), str):
            return
    if not models:
        return
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


def _weights(entry: ModelEntry, name: str) -> str:
    folder = _subfolder(entry, name)
    if folder is None:
        return f"hub {entry.args[name]}@{_commit(entry, name)}"
    files = _model_files(folder)
    if not files:
        found = "holds no model" if folder.is_dir() else "does not exist"
        problem = f"args.{name} names the folder {folder}, which {found}; correct the path or put the model there"
        raise ModelNotFound(problem, model=entry.name)
    if folder.is_file():
        return f"file sha256:{file_digest(folder)}"
    return f"folder sha256:{digest_of({file.name: file_digest(file) for file in files})}"


def _subfolder(entry: ModelEntry, name: str) -> Path | None:
    folder = local_folder(entry.args[name])
    return None if folder is None else folder / str(entry.args.get("subfolder", ""))


def _model_files(folder: Path) -> list[Path]:
    """Return the files of a model in `folder`, which may be a file itself; none where there is nothing."""
    if not folder.is_dir():
        return [folder] if folder.is_file() else []
    return sorted(path for path in folder.iterdir() if path.suffix in MODEL_FILES and path.is_file())


def local_folder(name: Any) -> Path | None:
    """Return the local folder that `name` means, None for a hub name. As in transformers, an existing folder wins."""
    path = Path(str(name)).expanduser()
    looks_like_path = re.fullmatch(r"[\w.-]+(/[\w.-]+)?", str(name)) is None or str(name).startswith(".")
    return path if looks_like_path or path.is_dir() else None


def _commit(entry: ModelEntry, name: str) -> str:
    with explained(Stage.MODEL, model=entry.name):
        return _resolved(str(entry.args[name]), str(entry.args.get("revision", "main")))


@lru_cache(maxsize=1024)
def _resolved(repository: str, revision: str) -> str:
    """Return the commit of a revision, as the hub says or, where it cannot be reached, its local cache."""
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
