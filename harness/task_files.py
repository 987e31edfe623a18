"""What a task definition refers to on this machine: data and code, with their digests."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .digests import digest_of, file_digest

__all__ = ["included_files", "portable", "referred_paths"]

PATTERN = re.compile(r"[*?\[]")
KINDS = ("arrow", "audiofolder", "csv", "imagefolder", "json", "pandas", "parquet", "text", "webdataset", "xml")
INCLUDE = re.compile(r"^include\s*:\s*['\"]?(.+?)['\"]?\s*(#.*)?$", re.MULTILINE)


def portable(value: Any, key: str = "") -> Any:
    """Return a definition with paths replaced by what they point at, so that it reads alike on every machine."""
    if isinstance(value, dict):
        return {str(k): portable(v, key=key if key == "dataset_kwargs" else str(k)) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [portable(item, key=key) for item in value]
    if not isinstance(value, str) or "\n" in value or len(value) > 1000:
        return value
    if key in ("dataset_path", "dataset_kwargs") and (found := _data_files(value)):
        return _content(found[0]) if found == [Path(value)] else [_content(path) for path in found]
    if (module := _module_file(value)) is not None:
        files = (module, *_imported_modules(module))
        digests = {file.relative_to(module.parent).as_posix(): file_digest(file) for file in files}
        digest = digest_of(digests) if len(files) > 1 else file_digest(module)
        return f"{value.rpartition('.')[2]} of sha256:{digest}"
    return value


def referred_paths(value: Any, key: str = "") -> Iterator[Path]:
    """Yield the files and folders on this machine that a definition refers to, as `portable` finds them.

    Data that are not there now are among them, and for a pattern its folder: they may appear there.
    """
    if isinstance(value, dict):
        for k, item in value.items():
            yield from referred_paths(item, key=key if key == "dataset_kwargs" else str(k))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from referred_paths(item, key=key)
    elif isinstance(value, str) and "\n" not in value and len(value) <= 1000:
        if key in ("dataset_path", "dataset_kwargs") and _names_data(value):
            before, *_ = PATTERN.split(value)
            yield Path(before.rpartition("/")[0] or ".") if before != value else Path(value)
        if (module := _module_file(value)) is not None:
            yield from (module, *_imported_modules(module))


def included_files(definition: Path) -> Iterator[Path]:
    """Yield the files that the YAML of a task includes, and those that they include."""
    waiting, found = [definition], {definition}
    while waiting:
        file = waiting.pop()
        text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
        for match in INCLUDE.finditer(text):
            other = file.parent / match[1]
            if other not in found:
                found.add(other)
                waiting.append(other)
                yield other


def _data_files(value: str) -> list[Path]:
    """Return the files or the folder that `datasets` takes a path or pattern for, from the working directory."""
    if not _names_data(value):
        return []
    path = Path(value)
    if PATTERN.search(value):
        root = Path("/") if path.is_absolute() else Path()
        return sorted(file for file in root.glob(value.lstrip("/")) if file.is_file())
    return [path] if path.exists() else []


def _names_data(value: str) -> bool:
    """Whether a text names files: a bare word does if there is such a folder and `datasets` has no such kind."""
    path = Path(value)
    return "://" not in value and ("/" in value or bool(path.suffix) or (value not in KINDS and path.is_dir()))


def _content(path: Path) -> Any:
    if path.is_dir():
        files = (file for file in path.rglob("*") if file.is_file())
        return {file.relative_to(path).as_posix(): file_digest(file) for file in files}
    return f"sha256:{file_digest(path)}"


def _module_file(value: str) -> Path | None:
    """Return the file of a function that lm-eval's index names as /folder/module.function."""
    module = Path(f"{value.rpartition('.')[0]}.py")
    return module if value.startswith("/") and module.is_file() else None


def _imported_modules(module: Path) -> list[Path]:
    """Return the files in the folder of `module` that it imports, or that these import, sorted."""
    found: set[Path] = set()
    waiting = [module]
    while waiting:
        for name in _imported_names(waiting.pop()):
            parts = name.split(".")
            for depth in range(1, len(parts) + 1):  # a.b is a.py, a/__init__.py, a/b.py or a/b/__init__.py
                place = module.parent.joinpath(*parts[:depth])
                for file in (place.with_name(f"{place.name}.py"), place / "__init__.py"):
                    if file != module and file not in found and file.is_file():
                        found.add(file)
                        waiting.append(file)
    return sorted(found)


def _imported_names(module: Path) -> set[str]:
    """Return the names that a module imports, or that may be modules; none where it is no Python."""
    try:
        nodes = list(ast.walk(ast.parse(module.read_bytes())))
    except (SyntaxError, ValueError):
        return set()
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    members = [(node.module, alias.name) for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names]
    return names | {f"{parent}.{name}" if parent else name for parent, name in members}
