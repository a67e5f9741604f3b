from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from flows.pipeline.overrides import Change, apply_overrides, data_overrides
from semigen.errors import UserError
from semigen.params.config import DataParams, Params

ROOT = Path(__file__).parents[3]


@pytest.fixture
def params(tmp_path: Path) -> Path:
    path = tmp_path / "params.yaml"
    path.write_bytes((ROOT / "params.yaml").read_bytes())
    return path


def changed_lines(path: Path) -> list[tuple[str, str]]:
    before = (ROOT / "params.yaml").read_text().splitlines()
    after = path.read_text().splitlines()
    assert len(before) == len(after)
    return [(old, new) for old, new in zip(before, after, strict=True) if old != new]


def test_sets_one_line_and_keeps_its_comment(params: Path) -> None:
    assert apply_overrides(["evaluate.confidence=0.9"], params) == [
        Change("evaluate.confidence", 0.95, 0.9)
    ]
    ((old, new),) = changed_lines(params)
    assert new.split() == old.replace("0.95", "0.9").split()
    assert "#" in new


def test_several_overrides_are_applied_together(params: Path) -> None:
    overrides = ["data.labeled=my own/a.csv", "data.unlabeled=../b.csv", "data.target='class'"]
    (params.parent / "my own").mkdir()
    for name in ("my own/a.csv", "../b.csv"):
        (params.parent / name).touch()
    apply_overrides(overrides, params)
    data = Params.load(params).data
    assert (data.labeled, data.unlabeled, data.target) == ("my own/a.csv", "../b.csv", "class")
    assert len(changed_lines(params)) == 3


@pytest.mark.parametrize(
    "name", ['my "label" (2)', "a\\", '\\"', "${seed}", "$(id)", "a=b,[c]", " x ", "null", "3", "ü"]
)
def test_values_of_forms_may_contain_any_character(params: Path, name: str) -> None:
    given = data_overrides(target=name, labeled="", unlabeled="", test="")
    apply_overrides(given, params)
    assert Params.load(params).data == DataParams(target=name)


def test_list_stays_on_its_line(params: Path) -> None:
    apply_overrides(["train.hidden_dims=[64,32]"], params)
    assert Params.load(params).train.hidden_dims == (64, 32)
    assert len(changed_lines(params)) == 1


def test_adds_and_removes_keys_of_a_mapping(params: Path) -> None:
    apply_overrides(["data.kinds.zip=category"], params)
    apply_overrides(["data.kinds={id: ignore}"], params)
    assert Params.load(params).data.kinds == {"zip": "category", "id": "ignore"}
    assert apply_overrides(["~data.kinds.zip"], params) == [
        Change("data.kinds.zip", "category", "unset")
    ]
    assert Params.load(params).data.kinds == {"id": "ignore"}


def test_adds_parameter_that_is_not_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("# mine\nseed: 1\n")
    assert apply_overrides(["train.epochs=3"], path) == [Change("train.epochs", "unset", 3)]
    assert path.read_text().startswith("# mine\nseed: 1\n")
    assert yaml.safe_load(path.read_text()) == {"seed": 1, "train": {"epochs": 3}}


def test_does_not_write_the_file_if_no_value_changes(params: Path) -> None:
    before = params.stat().st_mtime_ns
    assert apply_overrides(["seed=42"], params) == []
    assert params.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["train.epoch=3"], "unknown parameter 'train.epoch'; did you mean 'epochs'?"),
        (["trian.epochs=3"], "unknown parameter 'trian'; did you mean 'train'?"),
        (["+train.epoch=3"], "did you mean 'epochs'?"),
        (["train.epochs=0"], "train.epochs: must be greater than or equal to 1, not 0"),
        (["seed=7", "augment.filter=all"], "augment.filter: must be 'agreement' or 'none', not"),
        (["seed.deep=1"], "seed: "),
        (["data.labeled=mine.csv"], "set data.unlabeled too"),
        (["data.labeled=a.csv", "data.unlabeled=b.csv"], "a.csv: no such file; check data.labeled"),
        (["seed=1,2"], "one value at a time"),
        (["seed"], "cannot be read as KEY=VALUE"),
        (["~train.epoch"], "no such parameter"),
    ],
)
def test_rejects_override_with_a_message_of_one_line_and_keeps_the_file(
    overrides: list[str], message: str, params: Path
) -> None:
    with pytest.raises(UserError, match=r"^[^\n]+$") as error:
        apply_overrides(overrides, params)
    assert message in str(error.value)
    assert params.read_bytes() == (ROOT / "params.yaml").read_bytes()


def test_error_names_the_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"params\.yaml: cannot read parameters"):
        apply_overrides(["seed=1"], tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("seed: [")
    with pytest.raises(UserError, match=r"params\.yaml: not valid YAML"):
        apply_overrides(["seed=1"], tmp_path / "params.yaml")
