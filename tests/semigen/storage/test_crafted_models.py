"""Model folders that were damaged or crafted end in one error that names the file.

Every attack runs in a process of its own, so that a crash (signal 11) or a hang is seen. The
folders have no manifest, or one that matches the crafted files, so that only the checks of the
content can refuse them.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from safetensors.numpy import load_file, save_file
from scipy import sparse
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import OneHotEncoder

import semigen
from semigen.errors import UserError
from semigen.storage.estimator_files import load_estimator, save_estimator
from semigen.storage.manifest import write_manifest
from tests.semigen.forked import error_of

SAVED = Path(__file__).parents[1] / "data" / "models_fd3f79a"
ROWS = pd.DataFrame(json.loads((SAVED / "expected.json").read_text())["rows"])
X = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
Y = (X[:, 0] > 0).astype(int)


@pytest.fixture
def folder(tmp_path):
    """Return a copy of a classifier with a forest, a network and a mixture, without manifest."""
    source = SAVED / "registry" / "versions" / "v0001" / "classifier"
    return Path(shutil.copytree(source, tmp_path / "model"))


def predict(folder: Path) -> None:
    """Use a classifier as ``semigen predict`` does."""
    classifier = semigen.load(folder)
    assert np.isfinite(classifier.predict_proba(ROWS)).all()
    assert np.isfinite(classifier.novelty(ROWS)).all()


def refused(folder: Path, file: str, reason: str = "") -> None:
    """Check that a classifier is refused with an error that names a file and a reason."""
    error = error_of(lambda: predict(folder))
    assert isinstance(error, UserError), error
    assert file in str(error) and reason in str(error), error
    assert "\n" not in str(error)


def change_json(path: Path, change: Callable[[Any], Any]) -> None:
    content = json.loads(path.read_text())
    changed = change(content)
    path.write_text(json.dumps(content if changed is None else changed))


# Files


def names(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


FILES = names(SAVED / "registry" / "versions" / "v0001" / "classifier")


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def garbage(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 4)


def nothing(path: Path) -> None:
    path.unlink()


def named_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def subfolder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def huge(path: Path) -> None:
    os.truncate(path, 2**43)  # sparse: takes no space on the disk


DAMAGES = (truncate, empty, garbage, nothing, named_pipe, device, subfolder, huge)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_file_is_named(damage, file, folder):
    damage(folder / file)
    absent = damage is nothing and file in ("classifier.json", "generator/arrays.safetensors")
    refused(folder, str((folder / file).parent if absent else folder / file))


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("damage", DAMAGES)
def test_manifest_names_every_damage(damage, file, folder):
    write_manifest(folder)
    damage(folder / file)
    absent = damage is nothing and file == "classifier.json"
    refused(folder, str(folder if absent else folder / file))


@pytest.mark.parametrize("file", FILES)
def test_manifest_notices_one_flipped_bit(file, folder):
    write_manifest(folder)
    content = bytearray((folder / file).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / file).write_bytes(content)
    refused(folder, file, "content differs from manifest.json")


def test_manifest_notices_swapped_and_additional_files(folder):
    write_manifest(folder)
    (folder / "graph.skops").rename(folder / "kept")
    (folder / "naive_bayes.skops").rename(folder / "graph.skops")
    (folder / "kept").rename(folder / "naive_bayes.skops")
    refused(folder, "graph.skops", "bytes, but")
    (folder / "naive_bayes.skops").rename(folder / "kept")
    (folder / "graph.skops").rename(folder / "naive_bayes.skops")
    (folder / "kept").rename(folder / "graph.skops")
    predict(folder)
    (folder / "notes.txt").write_text("")
    refused(folder, "notes.txt", "not listed in manifest.json")


@pytest.mark.parametrize("content", ["", "[]", "{}", "null", '{"format": 1, "files": []}'])
def test_damaged_manifest_is_named(content, folder):
    (folder / "manifest.json").write_text(content)
    refused(folder, "manifest.json")


def test_circular_links_between_folders_are_refused(folder):
    for name in ("one", "two", "three"):
        (folder / name).symlink_to(folder)
    refused(folder, "more files or folders than any model")


def test_swapped_members_of_equal_manifest_are_refused(folder):
    for name in ("latent_mixture", "graph"):
        (folder / f"{name}.skops").rename(folder / f"{name}.kept")
    (folder / "latent_mixture.kept").rename(folder / "graph.skops")
    (folder / "graph.kept").rename(folder / "latent_mixture.skops")
    write_manifest(folder)
    refused(folder, ".skops")


# JSON


@pytest.mark.parametrize("file", [name for name in FILES if name.endswith(".json")])
@pytest.mark.parametrize("content", ["[]", "{}", "null", "3", '"text"', "[" * 100_000, "NaN"])
def test_other_json_is_refused(content, file, folder):
    (folder / file).write_text(content)
    refused(folder, "" if file == "classifier.json" else file)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("temperature", 0),
        ("temperature", -1.0),
        ("temperature", float("nan")),
        ("temperature", float("inf")),
        ("temperature", "hot"),
        ("weight", -0.1),
        ("weight", float("nan")),
        ("weight", 0.9),
        ("weight", None),
        ("space", "posterior"),
        ("space", "latent"),
        ("space", "elsewhere"),
        ("name", "../../escape"),
        ("name", "naive_bayes"),
        ("name", "absent"),
        ("name", ""),
    ],
)
def test_wrong_fact_of_a_member_is_refused(key, value, folder):
    change_json(folder / "classifier.json", lambda facts: facts["members"][1].update({key: value}))
    refused(folder, "")


def test_swapped_classes_are_refused(folder):
    change_json(folder / "encoder" / "schema.json", lambda schema: schema["classes"].reverse())
    refused(folder, "schema.json", "classes are in another order")


def test_swapped_classes_are_refused_in_new_files(folder):
    semigen.load(folder).save(folder.parent / "new")
    new = folder.parent / "new"
    for file in ("encoder/schema.json", "classifier.json"):
        change_json(new / file, lambda content: content["classes"].reverse())
        write_manifest(new)
        if file == "encoder/schema.json":
            refused(new, "schema.json", "classes are in another order")


@pytest.mark.parametrize(
    "change",
    [
        lambda schema: schema["classes"].append("none"),
        lambda schema: schema["classes"].clear(),
        lambda schema: schema["columns"].pop(),
        lambda schema: schema["columns"].reverse(),
        lambda schema: schema["columns"][0].update(maximum=1e999),
        lambda schema: schema["columns"][0].update(kind="category"),
        lambda schema: schema["columns"][0].update(name=schema["target"]),
    ],
)
def test_schema_that_does_not_fit_is_refused(change, folder):
    change_json(folder / "encoder" / "schema.json", change)
    refused(folder, "")


@pytest.mark.parametrize(
    "change",
    [
        lambda config: config["spans"][-1].update(stop=10**12),
        lambda config: config["spans"][0].update(start=-1),
        lambda config: config["spans"].reverse(),
        lambda config: config["spans"].clear(),
        lambda config: config["params"].update(hidden_dims=[8192] * 40),
        lambda config: config["params"].update(latent_dim=1024),
        lambda config: config["params"].update(latent_dim=10**12),
        lambda config: config.update(seed="seed"),
        lambda config: config.update(family=["vae"]),
        lambda config: config.update(family="gan"),
        lambda config: config["held_out_scores"].reverse(),
        lambda config: config["held_out_scores"].clear(),
    ],
)
def test_configuration_that_does_not_fit_the_weights_is_refused(change, folder):
    change_json(folder / "generator" / "config.json", change)
    refused(folder, "generator")


# Arrays


@pytest.mark.parametrize("file", ["weights", "arrays"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_infinite_and_missing_weights_are_refused(value, file, folder):
    path = folder / "generator" / f"{file}.safetensors"
    arrays = load_file(path)
    name = next(name for name, array in arrays.items() if array.dtype.kind == "f")
    arrays[name].flat[0] = value
    save_file(arrays, path)
    refused(folder, f"{file}.safetensors", "infinite or missing numbers")


def test_classes_beyond_the_schema_are_refused(folder):
    path = folder / "generator" / "arrays.safetensors"
    arrays = load_file(path)
    arrays["classes"] = arrays["classes"] + 10**9
    save_file(arrays, path)
    refused(folder, "generator", "other classes than the schema")


def test_weights_of_other_shapes_are_refused(folder):
    path = folder / "generator" / "weights.safetensors"
    arrays = load_file(path)
    save_file({name: array.T.copy() for name, array in arrays.items()}, path)
    refused(folder, "weights.safetensors", "size mismatch")


# Estimators


def test_member_that_predicts_no_probabilities_for_some_rows_is_refused(folder):
    """Its finite coefficients overflow, but not for a row of zeros."""
    classifier = semigen.load(folder)
    n_features, n_classes = classifier.encoder.n_features, len(classifier.classes_)
    x = np.random.default_rng(0).normal(size=(60, n_features))
    model = LogisticRegression().fit(x, np.arange(60) % n_classes)
    model.coef_ = np.copysign(1e308, model.coef_)
    member = replace(classifier.members[0], estimator=model, space="encoded", weight=1.0)
    zeros = member.predict_proba(np.zeros_like(x[:1]), x[:1, :0], None, n_classes)
    assert np.isfinite(zeros).all()
    replace(classifier, members=(member,)).save(folder.parent / "crafted")
    error = error_of(lambda: semigen.load(folder.parent / "crafted"))
    assert isinstance(error, UserError), error
    assert f"{member.name}.skops: a prediction is no probability distribution" in str(error)


def rewrite(path: Path, change: Callable[[dict[str, Any], dict[str, bytes]], None]) -> None:
    """Change the description and the arrays of a skops archive."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    schema = json.loads(members.pop("schema.json"))
    change(schema, members)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {**members, "schema.json": json.dumps(schema).encode()}.items():
            archive.writestr(name, content)


def change_array(content: bytes, change: Callable[[np.ndarray], None]) -> bytes:
    array = np.load(io.BytesIO(content))
    change(array)
    changed = io.BytesIO()
    np.save(changed, array)
    return changed.getvalue()


def nodes_of(members: dict[str, bytes], field: str) -> list[str]:
    """Return the names of the arrays that have nodes of trees."""
    loaded = {name: np.load(io.BytesIO(content)) for name, content in members.items()}
    return [name for name, array in loaded.items() if field in (array.dtype.names or ())]


def set_field(field: str, value: float) -> Callable[[np.ndarray], None]:
    def change(nodes: np.ndarray) -> None:
        nodes[field][0] = value

    return change


FOREST_ATTACKS = [
    ("left_child", 2**40),
    ("left_child", -7),
    ("left_child", 0),
    ("right_child", 10**6),
    ("right_child", 0),
    ("right_child", -1),
    ("feature", 10**6),
    ("feature", -2),
    ("threshold", np.nan),
]
BOOSTING_ATTACKS = [
    ("left", 10**6),
    ("left", 0),
    ("right", 2**32 - 1),
    ("feature_idx", 10**6),
    ("feature_idx", -1),
    ("num_threshold", np.nan),
    ("is_categorical", 1),
    ("value", np.nan),
]


def estimator_refused(path: Path, reason: str = "") -> None:
    error = error_of(lambda: load_estimator(path).predict_proba(X))
    assert isinstance(error, UserError), error
    assert path.name in str(error) and reason in str(error), error


@pytest.mark.parametrize(("field", "value"), FOREST_ATTACKS)
def test_crafted_tree_of_a_forest_is_refused(field, value, tmp_path):
    path = tmp_path / "forest.skops"
    save_estimator(ExtraTreesClassifier(3, random_state=0).fit(X, Y), path)

    def craft(schema: dict[str, Any], members: dict[str, bytes]) -> None:
        name = nodes_of(members, "left_child")[-1]
        members[name] = change_array(members[name], set_field(field, value))

    rewrite(path, craft)
    estimator_refused(path, "a tree ")


@pytest.mark.parametrize(("field", "value"), BOOSTING_ATTACKS)
def test_crafted_tree_of_gradient_boosting_is_refused(field, value, tmp_path):
    path = tmp_path / "boosting.skops"
    save_estimator(HistGradientBoostingClassifier(max_iter=3).fit(X, Y), path)

    def craft(schema: dict[str, Any], members: dict[str, bytes]) -> None:
        name = nodes_of(members, "is_categorical")[-1]
        members[name] = change_array(members[name], set_field(field, value))

    rewrite(path, craft)
    estimator_refused(path)


@pytest.mark.parametrize(("field", "value"), FOREST_ATTACKS)
def test_crafted_tree_of_the_graph_learner_is_refused(field, value, folder):
    def craft(schema: dict[str, Any], members: dict[str, bytes]) -> None:
        name = nodes_of(members, "left_child")[-1]
        members[name] = change_array(members[name], set_field(field, value))

    rewrite(folder / "graph.skops", craft)
    write_manifest(folder)
    refused(folder, "graph.skops", "a tree ")


@pytest.mark.parametrize(
    ("key", "value"), [("node_count", 10**9), ("node_count", 0), ("n_outputs", 10**12)]
)
def test_tree_with_wrong_counts_is_refused(key, value, tmp_path):
    path = tmp_path / "forest.skops"
    save_estimator(ExtraTreesClassifier(1, random_state=0).fit(X, Y), path)

    def craft(schema: dict[str, Any], members: dict[str, bytes]) -> None:
        node = find(schema, "TreeNode")
        if key == "n_outputs":
            node["__reduce__"]["args"]["content"][2] = json_node(value)
        else:
            node["content"]["content"][key] = json_node(value)

    rewrite(path, craft)
    error = error_of(lambda: load_estimator(path).predict_proba(X))
    assert error is None or isinstance(error, UserError), error


def find(node: Any, loader: str) -> Any:
    """Return the first node of a kind in a description."""
    if isinstance(node, list):
        return next((found for item in node if (found := find(item, loader))), None)
    if not isinstance(node, dict):
        return None
    return node if node.get("__loader__") == loader else find(list(node.values()), loader)


def json_node(value: Any) -> dict[str, Any]:
    return {
        "__class__": "str",
        "__module__": "builtins",
        "__loader__": "JsonNode",
        "content": json.dumps(value),
        "is_json": True,
        "__id__": 10**6,
    }


def test_trees_that_expect_more_columns_than_the_forest_are_refused(tmp_path):
    forest = ExtraTreesClassifier(2, random_state=0).fit(X, Y)
    wide = ExtraTreesClassifier(2, random_state=0).fit(np.hstack([X, X, X]), Y)
    forest.estimators_[1] = wide.estimators_[1]
    save_estimator(forest, tmp_path / "forest.skops")
    estimator_refused(tmp_path / "forest.skops", "different numbers of features")


def test_sparse_weights_with_an_index_out_of_bounds_are_refused(tmp_path):
    model = LogisticRegression().fit(X, Y)
    model.coef_ = sparse.csr_matrix(model.coef_)
    model.coef_.indices[0] = 2**30
    skops.io.dump(model, tmp_path / "logistic.skops")
    estimator_refused(tmp_path / "logistic.skops", "refused")


def test_one_hot_encoder_that_writes_out_of_bounds_is_refused(tmp_path):
    table = np.array([["a"], ["b"], ["c"]] * 9 + [["d"]], dtype=object)
    encoder = OneHotEncoder(min_frequency=3, sparse_output=False).fit(table)
    encoder._default_to_infrequent_mappings[0][0] = 2**40
    save_estimator(encoder, tmp_path / "encoder.skops")
    error = error_of(lambda: load_estimator(tmp_path / "encoder.skops").transform(table))
    assert isinstance(error, UserError) and "encoder.skops" in str(error)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_missing_and_infinite_coefficients_are_refused(value, tmp_path):
    model = LogisticRegression().fit(X, Y)
    model.coef_[0, 0] = value
    save_estimator(model, tmp_path / "logistic.skops")
    estimator_refused(tmp_path / "logistic.skops", "infinite or missing numbers")


def test_more_processes_are_not_started_for_a_file(tmp_path):
    save_estimator(ExtraTreesClassifier(2, n_jobs=64).fit(X, Y), tmp_path / "forest.skops")
    estimator_refused(tmp_path / "forest.skops", "n_jobs")


@pytest.mark.parametrize("member", ["schema.json", "0.npy"])
def test_zip_bomb_is_refused(member, folder):
    with zipfile.ZipFile(folder / "graph.skops", "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open(member, "w", force_zip64=True) as file:
            for _ in range(1024):
                file.write(bytes(2**20))
        if member != "schema.json":
            archive.writestr("schema.json", "{}")
    refused(folder, "graph.skops", "expands to")


def test_array_larger_than_its_file_is_refused(tmp_path):
    path = tmp_path / "logistic.skops"
    save_estimator(LogisticRegression().fit(X, Y), path)

    def craft(schema: dict[str, Any], members: dict[str, bytes]) -> None:
        header = io.BytesIO()
        shape = {"descr": "<f8", "fortran_order": False, "shape": (10**12,)}
        np.lib.format.write_array_header_1_0(header, shape)
        members.update(dict.fromkeys(members, header.getvalue()))

    rewrite(path, craft)
    estimator_refused(path)
