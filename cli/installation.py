"""Facts about an installation, and its problems; works where most packages are missing."""

from __future__ import annotations

import os
import platform
import re
import sys
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import sparserec_np
from sparserec_np._version import __version__
from sparserec_np.utils.parallel import granted_cores, usable_cores

NAME = "sparserec-np"
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS",
)  # fmt: skip


def examine() -> dict[str, Any]:
    """Examine the installation: versions, extras, threads, processor, caches.

    Returns:
        Values that JSON can hold. ``installed`` has the extras that are complete, the base as
        ``""``, and ``train`` in any case. ``problems`` has a sentence for each problem of these,
        with its remedy; a missing extra is not a problem.
    """
    packages = _packages()
    extras = _extras(packages)
    # What runs needs the base, and this command line a part of [train].
    installed = ["", "train", *(name for name, missing in extras.items() if not missing)]
    installed = list(dict.fromkeys(installed))
    caches, cache_problem = _caches()
    problems = [
        f"{name} {found['version']} is too old: pip install '{name}>={found['needed']}'"
        for name, found in packages.items()
        if found["version"] and not found["new_enough"] and set(installed) & set(found["extras"])
    ]
    problems += [_leftover_problem(folder) for folder in leftovers(sys.path)]
    return {
        "version": __version__,
        "location": str(Path(sparserec_np.__file__).parent),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "executable": sys.executable,
        "platform": platform.platform(),
        "packages": packages,
        "extras": extras,
        "installed": installed,
        "cpu": _cpu(),
        "threads": _threads(),
        "caches": caches,
        "problems": [*problems, *([cache_problem] if cache_problem else [])],
    }


def leftovers(path: list[str]) -> list[Path]:
    """Find folders ``sparserec_np`` without an ``__init__.py`` on the module search path.

    Python takes such a folder for a package, ahead of a checkout that is installed in place.
    """
    folders = [Path(entry, "sparserec_np") for entry in path if entry]
    return [
        folder for folder in folders if folder.is_dir() and not (folder / "__init__.py").is_file()
    ]


def _leftover_problem(folder: Path) -> str:
    return (
        f"{folder} is left over from an earlier installation and hides a checkout that is "
        f"installed in place: remove it (rm -r '{folder}')"
    )


def _requirements() -> list[tuple[str, str, str]]:
    """Return package, lowest version and extra of each requirement; the base has extra ``""``."""
    try:
        lines = metadata.requires(NAME) or []
    except metadata.PackageNotFoundError:
        return []
    found = []
    for line in lines:
        name = re.match(r"[\w.-]+", line)
        lowest = re.search(r">=\s*([\w.]+)", line.partition(";")[0])
        extra = re.search(r"extra == ['\"]([\w-]+)['\"]", line)
        if name and name[0] != NAME:
            found.append((name[0], lowest[1] if lowest else "0", extra[1] if extra else ""))
    return found


def _packages() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for name, needed, extra in _requirements():
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            version = None
        enough = version is not None and version_numbers(version) >= version_numbers(needed)
        entry = found.setdefault(
            name, {"version": version, "needed": needed, "new_enough": enough, "extras": []}
        )
        entry["extras"].append(extra)
    return found


def version_numbers(version: str) -> tuple[int, ...]:
    """Turn a version into its leading numbers, which can be compared.

    >>> version_numbers("1.12.0rc1"), version_numbers("2.0")
    ((1, 12), (2,))
    """
    numbers = [int(part) for part in re.findall(r"\d+", re.split(r"[a-z+]", version)[0])]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def _extras(packages: dict[str, dict[str, Any]]) -> dict[str, list[str]]:
    """List the missing packages of each extra, without those of extras that it includes."""
    missing: dict[str, list[str]] = {}
    for name, found in packages.items():
        for extra in found["extras"]:
            if extra:
                missing.setdefault(extra, []).extend([] if found["version"] else [name])
    return missing


def _import_if_installed(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        return None


def _cpu() -> dict[str, Any]:
    features: list[str] = []
    if (numpy := _import_if_installed("numpy")) is not None:
        config = numpy.show_config(mode="dicts") or {}
        simd = config.get("SIMD Extensions", {})
        features = [*simd.get("baseline", []), *simd.get("found", [])]
    return {"machine": platform.machine(), "name": _cpu_name(), "features": features}


def _cpu_name() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor()
    name = re.search(r"^model name\s*:\s*(.+)$", text, flags=re.MULTILINE)
    return name[1] if name else platform.processor()


def _threads() -> dict[str, Any]:
    environment = {name: os.environ[name] for name in _THREAD_VARIABLES if name in os.environ}
    return {
        "cores": os.cpu_count(),
        "usable": usable_cores(),
        "granted": granted_cores(),
        "environment": environment,
    }


def _caches() -> tuple[dict[str, Any], str | None]:
    """Return facts about the folder of compiled code, and its problem or None."""
    if _import_if_installed("numba") is None:
        return {"numba": None}, None
    from sparserec_np.utils.compiled import FOLDER

    if FOLDER is None:
        return {"numba": None}, (
            "compiled code cannot be kept, so each start takes half a minute longer: set "
            "NUMBA_CACHE_DIR to a folder that can be written to"
        )
    files = list(FOLDER.rglob("*.nb[ci]"))
    size = sum(file.stat().st_size for file in files)
    return {"numba": str(FOLDER), "writable": True, "files": len(files), "bytes": size}, None
