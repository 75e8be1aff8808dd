from __future__ import annotations

import ast
import inspect
import itertools
import json
import math
from dataclasses import FrozenInstanceError, fields

import pytest

from sparserec_np.errors import InputError
from sparserec_np.training import config
from sparserec_np.training.config import Config


def test_defaults_are_in_range_and_fit_in_json():
    assert json.loads(json.dumps(Config().to_dict())) == Config().to_dict()


def test_it_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        Config().dim = 3  # type: ignore[misc]


@pytest.mark.parametrize("name", sorted(config._RANGES))
def test_ranges(name):
    low, high = config._RANGES[name]
    assert getattr(Config(**{name: low}), name) == low
    with pytest.raises(InputError, match=f"^{name} must be "):
        Config(**{name: low - 1})
    if math.isfinite(high):
        assert getattr(Config(**{name: high}), name) == high
        with pytest.raises(InputError, match=f"^{name} must be "):
            Config(**{name: high + 1})


@pytest.mark.parametrize("name", sorted(config._RANGES))
@pytest.mark.parametrize("value", ["8", True, math.nan, [8]])
def test_what_is_no_number(name, value):
    with pytest.raises(InputError, match=f"^{name} must be "):
        Config(**{name: value})


@pytest.mark.parametrize("name", sorted(config._WHOLE))
def test_whole_numbers(name):
    with pytest.raises(InputError, match="must be a whole number"):
        Config(**{name: 8.5})


def test_unknown_user_model():
    with pytest.raises(InputError, match="users must be 'history' or 'embedding', not 'both'"):
        Config(users="both")  # type: ignore[arg-type]


def test_every_number_has_a_range_and_every_field_says_what_it_is():
    names = {field.name for field in fields(Config)}
    assert set(config._RANGES) == names - {"users"}
    (cls,) = ast.parse(inspect.getsource(Config)).body
    body = cls.body
    documented = {
        statement.target.id
        for statement, after in itertools.pairwise(body)
        if isinstance(statement, ast.AnnAssign)
        and isinstance(after, ast.Expr)
        and isinstance(after.value, ast.Constant)
    }
    assert documented == names
