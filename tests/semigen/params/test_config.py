from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel, ValidationError

from semigen.errors import UserError
from semigen.params.config import DataParams, Params

ROOT = Path(__file__).parents[3]


def load(folder: Path, text: str) -> Params:
    (folder / "params.yaml").write_text(text)
    return Params.load(folder / "params.yaml")


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(UserError) as refused:
        load(folder, text)
    message = str(refused.value)
    assert "\n" not in message
    assert message.startswith(f"{folder / 'params.yaml'}: ")
    return message


def test_empty_file_gives_the_defaults(tmp_path):
    assert load(tmp_path, "") == Params()


def test_params_yaml_has_all_parameters_with_their_defaults():
    content = yaml.safe_load((ROOT / "params.yaml").read_text())
    assert content == yaml.safe_load(
        yaml.safe_dump(Params().model_dump(by_alias=True, mode="json"))
    )


def sections(model: type[BaseModel]) -> list[type[BaseModel]]:
    nested = [field.annotation for field in model.model_fields.values()]
    inner = [a for a in nested if isinstance(a, type) and issubclass(a, BaseModel)]
    return [model, *(section for a in inner for section in sections(a))]


@pytest.mark.parametrize("section", sections(Params)[1:])
def test_every_parameter_is_documented(section: type[BaseModel]):
    described = {name: f.description for name, f in section.model_fields.items()}
    own_sections = {s.__name__ for s in sections(section)[1:]}
    for name, field in section.model_fields.items():
        is_section = getattr(field.annotation, "__name__", "") in own_sections
        assert described[name] or (is_section and field.annotation.__doc__), name


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("pretrian: {}", ["'pretrian'", "did you mean 'pretrain'?", "allowed: seed, sample"]),
        ("pretrain: {vae: {latent_dims: 3}}", ["'pretrain.vae.latent_dims'", "'latent_dim'?"]),
        ("validate: {min_rows: 3}", ["'validate.min_rows'", "allowed: min_rows_per_class"]),
        ("seed: -1", ["seed: ", "greater than or equal to 0, not -1"]),
        ("validate: {min_rows_per_class: 1}", ["validate.min_rows_per_class: ", "2, not 1"]),
        ("data: {test_size: 1.5}", ["data.test_size: ", "less than 1, not 1.5"]),
        (
            "sample: {dataset: iris}",
            ["sample.dataset: must be 'digits', 'breast_cancer' or 'wine'", "iris"],
        ),
        (
            "data: {kinds: {zip: text}}",
            ["data.kinds.zip: must be 'numeric', 'category'", "not 'text'"],
        ),
        ("data: {labeled: a.csv}", ["data.unlabeled", "data/samples/unlabeled.csv"]),
        ("[1, 2]", ["valid dictionary"]),
        ("a: [", ["not valid YAML"]),
    ],
)
def test_invalid_parameter_is_reported_with_what_is_allowed(tmp_path, text: str, words: list[str]):
    message = refusal(tmp_path, text)
    for word in words:
        assert word in message


def test_several_errors_are_reported_together(tmp_path):
    message = refusal(tmp_path, "seed: x\ntrain: {fold: 3}")
    assert "seed: " in message
    assert "'train.fold'; did you mean 'folds'?" in message


def test_rejects_unreadable_files(tmp_path):
    with pytest.raises(UserError, match="No such file"):
        Params.load(tmp_path / "nothing.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"seed: \xe4")
    with pytest.raises(UserError, match="not UTF-8"):
        Params.load(tmp_path / "latin.yaml")


def test_parameters_are_frozen():
    with pytest.raises(ValidationError):
        Params().seed = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("data", "table"),
    [
        ({}, "data/samples/test.csv"),
        ({"labeled": "my.csv", "unlabeled": "u.csv"}, None),
        ({"labeled": "my.csv", "unlabeled": "u.csv", "test": "my.csv"}, None),
        ({"labeled": "my.csv", "unlabeled": "u.csv", "test": "t.csv"}, "t.csv"),
        ({"labeled": "./data/samples/labeled.csv"}, "data/samples/test.csv"),
    ],
)
def test_test_table(data: dict[str, str], table: str | None):
    assert DataParams(**data).test_table == table
