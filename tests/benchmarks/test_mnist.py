from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import mnist
from benchmarks.mnist import Images, main, mask_labels, split_validation


def test_labels_are_drawn_evenly_and_depend_on_seed():
    y = np.random.default_rng(0).integers(0, 10, 3000)
    y_masked = mask_labels(y, 100, seed=1)
    assert np.bincount(y_masked[y_masked >= 0]).tolist() == [10] * 10
    assert (y_masked[y_masked >= 0] == y[y_masked >= 0]).all()
    assert np.array_equal(y_masked, mask_labels(y, 100, seed=1))
    assert not np.array_equal(y_masked, mask_labels(y, 100, seed=2))


def test_validation_images_are_not_training_images():
    n_images = 6000
    images = Images(np.arange(n_images, dtype=np.float32)[:, None], np.zeros(n_images, np.int64))
    training, evaluation = split_validation(images)
    assert len(evaluation.y) == mnist.N_VALIDATION
    assert sorted([*training.x[:, 0], *evaluation.x[:, 0]]) == list(range(n_images))


def test_reports_missing_data_in_one_line(tmp_path):
    with pytest.raises(SystemExit, match=r"mnist.npz: no such file; name the MNIST archive"):
        main(["--data", str(tmp_path / "mnist.npz")])


def test_resumes_and_summarizes_draws(tmp_path, capsys):
    rng = np.random.default_rng(0)
    arrays = {}
    for part, n_images in (("train", 200), ("test", 50)):
        y = np.arange(n_images) % 10
        x = rng.integers(0, 60, (n_images, 28, 28)).astype(np.uint8)
        x[np.arange(n_images), 2 * y] = 255  # a bright line, higher or lower by digit
        arrays |= {f"x_{part}": x, f"y_{part}": y.astype(np.uint8)}
    np.savez(tmp_path / "mnist.npz", **arrays)
    small = {"hidden_dims": [16], "classifier_dims": [16], "epochs": 3, "pretrain_epochs": 1}
    arguments = [f"--set={name}={json.dumps(value)}" for name, value in small.items()]
    arguments += ["--set=batch_size=64", "--data", str(tmp_path / "mnist.npz"), "--threads", "1"]
    arguments += ["--out", str(tmp_path / "results")]
    main([*arguments, "--draws", "1"])
    main([*arguments, "--draws", "2", "--resume"])
    assert "| mean ± standard error |" in capsys.readouterr().out
    results = json.loads((tmp_path / "results" / "mnist_ssvae.json").read_text())
    assert [draw["seed"] for draw in results["draws"]] == [0, 1]
    errors = np.array([draw["error"] for draw in results["draws"]])
    assert results["error"][0] == pytest.approx(errors.mean())
    assert results["error"][1] == pytest.approx(abs(errors[0] - errors[1]) / 2)
    assert len((tmp_path / "results" / "mnist_ssvae.jsonl").read_text().splitlines()) == 2
