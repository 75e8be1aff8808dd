"""Hyperparameters: their ranges, kinds and descriptions."""

from __future__ import annotations

import json
import math
from dataclasses import FrozenInstanceError, fields

import pytest

from sparserec_np.errors import InputError
from sparserec_np.training.config import HYPERPARAMETERS, Config

NUMBERS = sorted(HYPERPARAMETERS.keys() - {"users"})
WHOLE = [name for name in NUMBERS if HYPERPARAMETERS[name].type == "int"]
EIGHTHS = [name for name in NUMBERS if HYPERPARAMETERS[name].metadata.get("eighths")]


def test_defaults_are_in_range_and_fit_in_json():
    assert json.loads(json.dumps(Config().to_dict())) == Config().to_dict()


def test_it_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        Config().dim = 3  # type: ignore[misc]


@pytest.mark.parametrize("name", NUMBERS)
def test_ranges(name):
    low, high = HYPERPARAMETERS[name].metadata["range"]
    assert getattr(Config(**{name: low}), name) == low
    with pytest.raises(InputError, match=f"^{name} must be "):
        Config(**{name: low - 1})
    if math.isfinite(high):
        assert getattr(Config(**{name: high}), name) == high
        with pytest.raises(InputError, match=f"^{name} must be "):
            Config(**{name: high + 1})


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", ["8", True, math.nan, [8]])
def test_values_that_are_no_numbers(name, value):
    with pytest.raises(InputError, match=f"^{name} must be "):
        Config(**{name: value})


@pytest.mark.parametrize("name", WHOLE)
def test_whole_numbers(name):
    with pytest.raises(InputError, match=f"^{name} must be a whole number"):
        Config(**{name: 8.5})


@pytest.mark.parametrize("name", EIGHTHS)
def test_multiples_of_an_eighth(name):
    assert getattr(Config(**{name: 0.625}), name) == 0.625
    with pytest.raises(InputError, match=f"^{name} must be a multiple of 1/8, not 0.6"):
        Config(**{name: 0.6})


def test_hyperparameters_of_each_kind_are_found():
    assert {"dim", "seed"} <= set(WHOLE)
    assert EIGHTHS == ["history_power", "recency"]


def test_only_what_is_chosen_on_a_held_out_part_may_be_left_open():
    for name in NUMBERS:
        if name in ("recency", "neighbour_scale"):
            assert getattr(Config(**{name: None}), name) is None
        else:
            with pytest.raises(InputError, match=f"^{name} must be "):
                Config(**{name: None})


def test_unknown_user_model():
    with pytest.raises(InputError, match="users must be 'history' or 'embedding', not 'both'"):
        Config(users="both")  # type: ignore[arg-type]


def test_every_number_has_a_range_and_every_field_a_description():
    assert list(HYPERPARAMETERS) == [field.name for field in fields(Config)]
    for name, field in HYPERPARAMETERS.items():
        assert ("range" in field.metadata) == (name != "users")
        assert field.metadata["doc"].endswith(".")
        assert f"\n        {name}: " in Config.__doc__
