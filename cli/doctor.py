"""``sparserec-np doctor``: facts of the installation, and its problems."""

from __future__ import annotations

from typing import Any

import click

from .options import common_options, json_option
from .output import format_size, print_facts, print_json
from .terminal import echo


@click.command(short_help="Show versions, extras, threads, caches and problems.")
@json_option
@common_options
def doctor(as_json: bool) -> int:
    """Show versions, extras, processor, threads and caches of the installation.

    Extras of which a package is missing are left out: nothing needs them. Each problem has a line
    on stderr; the exit code is then 1.
    """
    from .installation import examine

    found = examine()
    if as_json:
        print_json(found)
    else:
        print_facts(_facts(found), title=f"sparserec-np {found['version']}")
        for problem in found["problems"]:
            echo(f"problem: {problem}", err=True)
    return 1 if found["problems"] else 0


def _facts(found: dict[str, Any]) -> list[tuple[str, object]]:
    cpu, threads, caches = found["cpu"], found["threads"], found["caches"]
    by_extra: dict[str, list[str]] = {}
    for name, package in found["packages"].items():
        extra = package["extras"][0]
        if extra in found["installed"]:
            text = f"{name} {package['version']}" if package["version"] else f"{name} missing"
            by_extra.setdefault(extra, []).append(text)
    return [
        ("installed in", found["location"]),
        ("python", f"{found['python']}, {found['executable']}"),
        ("platform", found["platform"]),
        ("processor", f"{cpu['name']} ({cpu['machine']})"),
        (
            "threads",
            f"{threads['usable']} of {threads['cores']} cores"
            + (f", time of {threads['granted']} granted" if threads["granted"] else "")
            + "".join(f", {name}={value}" for name, value in threads["environment"].items()),
        ),
        (
            "compiled code",
            f"{caches['numba']}: {caches['files']} files, {format_size(caches['bytes'])}"
            if caches["numba"]
            else "none",
        ),
        *(
            (f"[{extra}]" if extra else "base", ", ".join(texts))
            for extra, texts in by_extra.items()
        ),
        *(
            (f"for [{extra}]", f"pip install 'sparserec-np[{extra}]'")
            for extra in found["installed"]
            if found["extras"].get(extra)
        ),
        ("problems", len(found["problems"]) or "none"),
    ]
