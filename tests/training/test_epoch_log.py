"""The log of a fit: metrics come back as they were written, and errors name the line."""

from __future__ import annotations

import pytest

from sparserec_np import InputError
from sparserec_np.training.epoch_log import read_log, write_log
from sparserec_np.training.state import EpochMetrics


def test_a_log_comes_back_as_it_was(tmp_path):
    metrics = [
        EpochMetrics(1, 4, 0.7, None, 1e6, 0, 0.25, "train"),
        EpochMetrics(2, 4, 0.1 + 0.2, 0.125, 2.5e6, 17, 1.5, "choose"),
    ]
    write_log(tmp_path / "fit.jsonl", metrics)
    assert read_log(tmp_path / "fit.jsonl") == metrics


@pytest.mark.parametrize("line", ["{}", "[1]", "1", "{", '{"epoch": "one"}'])
def test_a_line_without_metrics_is_named(tmp_path, line):
    metrics = EpochMetrics(1, 4, 0.7, None, 1e6, 0, 0.25, "train")
    write_log(tmp_path / "fit.jsonl", [metrics])
    with open(tmp_path / "fit.jsonl", "a") as file:
        file.write(line + "\n")
    with pytest.raises(InputError, match=r"fit\.jsonl, line 2"):
        read_log(tmp_path / "fit.jsonl")
