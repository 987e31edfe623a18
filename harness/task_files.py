"""What a task definition refers to on this machine: data, code, and what they say."""

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
    """A definition with paths replaced by what they point at, so that it reads alike on every machine."""
    if isinstance(value, dict):
        return {str(k): portable(v, key=key if key == "dataset_kwargs" else str(k)) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [portable(item, key=key) for item in value]
    if not isinstance(value, str) or "\n" in value or len(value) > 1000:
        return value
    if key in ("dataset_path", "dataset_kwargs") and (found := _data_files(value)):
        return _content(found[0]) if found == [Path(value)] else [_content(path) for path in found]
    if (module := _module_file(value)) is not None:
        return f"{value.rpartition('.')[2]} of sha256:{_code_digest(module)}"
    return value


def referred_paths(value: Any, key: str = "") -> Iterator[Path]:
    """Files and folders on this machine that a definition refers to, as `portable` finds them."""
    if isinstance(value, dict):
        for k, item in value.items():
            yield from referred_paths(item, key=key if key == "dataset_kwargs" else str(k))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from referred_paths(item, key=key)
    elif isinstance(value, str) and "\n" not in value and len(value) <= 1000:
        if key in ("dataset_path", "dataset_kwargs"):
            yield from _data_places(value)
        if (module := _module_file(value)) is not None:
            yield from (module, *_imported_beside(module))


def included_files(definition: Path) -> Iterator[Path]:
    """The files that the YAML of a task includes, and those that they include."""
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
    """The files or the folder that a path or pattern means to `datasets`; relative ones begin where the process is."""
    if not _names_data(value):
        return []
    path = Path(value)
    if PATTERN.search(value):
        root = Path("/") if path.is_absolute() else Path()
        return sorted(file for file in root.glob(value.lstrip("/")) if file.is_file())
    return [path] if path.exists() else []


def _data_places(value: str) -> list[Path]:
    """Where to look whether the data have changed: also what is not there now, and the folder of a pattern."""
    if not _names_data(value):
        return []
    before, *_ = PATTERN.split(value)
    return [Path(before.rpartition("/")[0] or ".") if before != value else Path(value)]


def _names_data(value: str) -> bool:
    """A bare word is a folder of that name, unless it is one of the kinds of data set that `datasets` knows."""
    path = Path(value)
    return "://" not in value and ("/" in value or bool(path.suffix) or (value not in KINDS and path.is_dir()))


def _content(path: Path) -> Any:
    if path.is_dir():
        files = (file for file in path.rglob("*") if file.is_file())
        return {file.relative_to(path).as_posix(): file_digest(file) for file in files}
    return f"sha256:{file_digest(path)}"


def _module_file(value: str) -> Path | None:
    """The file of a function that lm-eval's index names as /folder/module.function."""
    module = Path(f"{value.rpartition('.')[0]}.py")
    return module if value.startswith("/") and module.is_file() else None


def _code_digest(module: Path) -> str:
    """Of a module, and of those in its folder that it imports."""
    others = _imported_beside(module)
    if not others:
        return file_digest(module)
    return digest_of({file.relative_to(module.parent).as_posix(): file_digest(file) for file in (module, *others)})


def _imported_beside(module: Path) -> list[Path]:
    """Files in the folder of `module` that it imports, or that these import, sorted."""
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
    """Names that a module imports, or that may be modules; none where it is no Python."""
    try:
        tree = ast.parse(module.read_bytes())
    except (SyntaxError, ValueError):
        return set()
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" if node.module else alias.name for alias in node.names}
    return names
