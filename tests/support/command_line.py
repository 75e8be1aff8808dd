"""The command line, run in process."""

from __future__ import annotations

import json

from click.testing import CliRunner, Result

from sparserec_np.cli.app import app


def run(*args: object) -> Result:
    """Run a command."""
    return CliRunner().invoke(app, [str(arg) for arg in args])


def run_json(*args: object) -> dict:
    """Run a command with ``--json``; return the one object that it prints."""
    result = run(*args, "--json")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert len(lines) == 1
    return json.loads(lines[0])


def fails(result: Result, message: str, code: int = 2) -> None:
    """Check that a command failed with one line on stderr that contains ``message``."""
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert "Traceback" not in result.stderr
