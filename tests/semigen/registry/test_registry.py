"""Versions are complete or absent, the history is consistent, numbers are never reused.

The classifiers are small folders with the file that the registry requires; it does not read their
content. ``tests/tasks/test_promote.py`` promotes real classifiers.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
from pathlib import Path

import pytest

from semigen.errors import UserError
from semigen.registry import registry as module
from semigen.registry.history import Event, succession
from semigen.registry.registry import MAX_CHALLENGERS, Registry
from semigen.registry.versions import digest_of, find_changed
from semigen.storage.manifest import write_manifest

STEPS = [(os, "replace"), (shutil, "copyfile"), (os, "fsync")]
"""Calls that change files or wait for the disk; the process is killed before each of them."""


def classifier(folder: Path, content: str) -> Path:
    """Write two files that the registry accepts as a classifier."""
    for name in ("classifier.json", "encoder/schema.json"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(f"{name} {content}"))
    return folder


def add(registry: Registry, folder: Path, content: str, *, promoted: bool = True) -> str:
    with registry.staged(classifier(folder, content)) as staged:
        facts = {"content": content}
        version = registry.add(staged, facts, promoted=promoted, trigger="test", reason="so")
    return version.name


def is_complete(registry: Registry) -> bool:
    """Return whether the files of every version match its record."""
    return all(version.digest == digest_of(version.classifier) for version in registry.versions())


@pytest.fixture
def registry(tmp_path):
    return Registry(tmp_path / "models" / "registry")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "models" / "classifier"


def test_reading_an_empty_registry_creates_nothing(registry):
    assert registry.champion() is None
    assert registry.versions() == [] and registry.history() == ()
    assert not registry.root.exists()


def test_versions_are_copies_with_a_record(registry, folder):
    assert add(registry, folder, "one") == "v0001"
    assert add(registry, folder, "two", promoted=False) == "v0002"
    shutil.rmtree(folder)
    one, two = registry.versions()
    assert (one.facts["content"], two.facts["content"]) == ("one", "two")
    assert "two" in (two.classifier / "encoder" / "schema.json").read_text()
    assert registry.champion() == one
    assert [event.move for event in registry.history()] == ["promoted", "kept"]
    assert registry.find(two.digest) == two
    assert registry.find("none") is None
    pointer = json.loads((registry.root / "champion.json").read_text())
    assert (pointer["version"], pointer["previous"]) == ("v0001", None)
    assert pointer["since"] == one.created


def test_links_into_a_cache_are_copied_as_files(registry, folder, tmp_path):
    cache = classifier(tmp_path / "cache", "one")
    folder.mkdir(parents=True)
    (folder / "classifier.json").symlink_to(cache / "classifier.json")
    (folder / "encoder").symlink_to(cache / "encoder")
    with registry.staged(folder) as staged:
        version = registry.add(staged, {}, promoted=True, trigger="test", reason="so")
    assert version.digest == digest_of(cache)
    shutil.rmtree(cache)
    assert is_complete(registry)
    assert not any(path.is_symlink() for path in version.folder.rglob("*"))


def test_digest_depends_on_names_and_contents(folder, tmp_path):
    same = classifier(tmp_path / "same", "one")
    assert digest_of(classifier(folder, "one")) == digest_of(same)
    (same / "encoder" / "schema.json").rename(same / "encoder" / "other.json")
    assert digest_of(folder) != digest_of(same)


def test_staged_copy_is_removed_unless_added(registry, folder):
    with registry.staged(classifier(folder, "one")) as staged:
        assert digest_of(staged.classifier) == staged.digest
    assert list((registry.root / "versions").iterdir()) == []


def test_rejects_a_classifier_written_during_the_copy(registry, folder, monkeypatch):
    copyfile = shutil.copyfile

    def copy_and_meddle(source, destination, **options):
        copyfile(source, destination, **options)
        classifier(folder, "two")

    monkeypatch.setattr(shutil, "copyfile", copy_and_meddle)
    classifier(folder, "one")
    with (
        pytest.raises(UserError, match="another run wrote these files"),
        registry.staged(folder),
    ):
        pass
    assert registry.versions() == []


def test_missing_classifier_and_missing_version_are_reported(registry, folder):
    with pytest.raises(UserError, match="no classifier in this folder"), registry.staged(folder):
        pass
    add(registry, folder, "one")
    with pytest.raises(UserError, match="no version 'v0009'; versions: v0001"):
        registry.rollback("v0009")


def test_each_rollback_goes_one_champion_back(registry, folder):
    for content in ("one", "two", "three"):
        add(registry, folder, content)
    assert registry.rollback().version == "v0002"
    event = registry.rollback(trigger="pager")
    assert (event.move, event.version, event.replaced) == ("rolled back", "v0001", "v0002")
    assert registry.history()[-1] == event and event.trigger == "pager"
    assert registry.champion().name == "v0001"
    with pytest.raises(UserError, match="no champion before v0001"):
        registry.rollback()
    assert registry.was_rolled_back("v0002") and registry.was_rolled_back("v0003")
    assert not registry.was_rolled_back("v0001")


def test_rollback_to_a_named_version(registry, folder):
    for content in ("one", "two", "three"):
        add(registry, folder, content, promoted=content != "three")
    assert registry.rollback("v0003").replaced == "v0002"  # a challenger
    assert registry.rollback().version == "v0002"
    with pytest.raises(UserError, match="v0002 is the champion already"):
        registry.rollback("v0002")


def test_rejects_rollback_without_a_champion(registry):
    with pytest.raises(UserError, match="no champion before the first one"):
        registry.rollback()


def test_version_promoted_again_is_no_longer_rolled_back(registry, folder):
    add(registry, folder, "one")
    add(registry, folder, "two")
    registry.rollback()
    registry.promote("v0002", trigger="test", reason="forced")
    assert registry.champion().name == "v0002"
    assert not registry.was_rolled_back("v0002")
    add(registry, folder, "three")
    assert not registry.was_rolled_back("v0002")  # replaced by a promotion


def test_rollback_truncates_the_succession():
    moves = [
        ("promoted", "v1", ["v1"]),
        ("kept", "v2", ["v1"]),
        ("promoted", "v3", ["v1", "v3"]),
        ("promoted", "v4", ["v1", "v3", "v4"]),
        ("rolled back", "v1", ["v1"]),
        ("promoted", "v4", ["v1", "v4"]),
        ("rolled back", "v2", ["v1", "v4", "v2"]),
    ]
    events = [Event("now", move, version, None, "", "") for move, version, _ in moves]
    for n, (_, _, line) in enumerate(moves, 1):
        assert succession(tuple(events[:n])) == line


def test_prunes_old_challengers_only_and_never_reuses_numbers(registry, folder):
    add(registry, folder, "first")
    add(registry, folder, "second")
    n = MAX_CHALLENGERS + 3
    for i in range(n):
        add(registry, folder, f"challenger {i}", promoted=False)
    names = [version.name for version in registry.versions()]
    assert names == ["v0001", "v0002", *(f"v{i:04}" for i in range(6, n + 3))]
    assert len(registry.history()) == n + 2
    assert {path.name for path in (registry.root / "versions").iterdir()} == set(names)
    for version in names[2:]:
        shutil.rmtree(registry.root / "versions" / version)
    assert add(registry, folder, "next") == f"v{n + 3:04}"


def test_versions_are_sorted_beyond_four_digits(registry, folder, monkeypatch):
    add(registry, folder, "one")
    monkeypatch.setattr(Registry, "_next_name", lambda _: "v10000")
    add(registry, folder, "two")
    assert [version.name for version in registry.versions()] == ["v0001", "v10000"]


@pytest.mark.parametrize("n", [1, 2])
def test_versions_are_not_removed_if_the_history_is_lost(n, registry, folder):
    names = [add(registry, folder, f"content {i}") for i in range(n)]
    (registry.root / "champion.json").unlink()
    with pytest.raises(UserError, match=r"champion\.json: file not found, but .* holds v0001"):
        add(registry, folder, "next")
    for name in names:
        assert (registry.root / "versions" / name / "record.json").exists()


def run_until(step: int, act, root: Path, folder: Path) -> int:
    """Run ``act`` in a process that is killed before its ``step``-th change; return its status."""
    context = multiprocessing.get_context("fork")
    process = context.Process(target=_killed_at, args=(step, act, root, folder))
    process.start()
    process.join(30)
    return process.exitcode


def _killed_at(step: int, act, root: Path, folder: Path) -> None:
    n_done = 0

    def counting(function):
        def call(*arguments, **options):
            nonlocal n_done
            n_done += 1
            if n_done == step:
                os._exit(9)
            return function(*arguments, **options)

        return call

    for owner, name in STEPS:
        setattr(owner, name, counting(getattr(owner, name)))
    act(Registry(root), folder)


def promote_two(registry: Registry, folder: Path) -> None:
    add(registry, folder, "two")


def roll_back(registry: Registry, folder: Path) -> None:
    registry.rollback()


def prune(registry: Registry, folder: Path) -> None:
    module.MAX_CHALLENGERS = 1
    add(registry, folder, "two", promoted=False)


@pytest.mark.parametrize(
    ("act", "before", "after"),
    [
        (promote_two, "v0002", "v0004"),
        (roll_back, "v0002", "v0001"),
        (prune, "v0002", "v0002"),
    ],
)
def test_registry_is_consistent_after_a_kill_at_any_step(tmp_path, folder, act, before, after):
    start = tmp_path / "start"
    for content, promoted in (("zero", True), ("one", True), ("other", False)):
        add(Registry(start), folder, content, promoted=promoted)
    status, step, seen = 9, 0, []
    while status == 9:
        step += 1
        root = tmp_path / f"killed {step}"
        shutil.copytree(start, root)
        status = run_until(step, act, root, folder)
        registry = Registry(root)
        seen.append(registry.champion().name)
        assert seen[-1] in {before, after} and is_complete(registry)
        assert registry.champion().digest == digest_of(registry.champion().classifier)
        known = {version.name for version in registry.versions()}
        next_name = add(registry, folder, "three")
        assert next_name not in known and registry.champion().name == next_name
        assert is_complete(registry)
        versions = {path.name for path in (root / "versions").iterdir()}
        assert versions == {version.name for version in registry.versions()}
        assert {path.name for path in root.iterdir()} == {"champion.json", "lock", "versions"}
    assert status == 0 and step > 2
    assert seen[0] == before and seen[-1] == after
    assert seen == sorted(seen, key=[before, after].index)  # never back to the old champion


def test_first_version_of_a_killed_call_is_removed(tmp_path, folder):
    status, step, n_left = 9, 0, 0
    while status == 9:
        step += 1
        registry = Registry(tmp_path / f"killed {step}")
        status = run_until(step, promote_two, registry.root, folder)
        has_version = (registry.root / "versions" / "v0001").exists()
        n_left += has_version and registry.champion() is None
        before = registry.champion()
        name = add(registry, folder, "three")
        assert name == ("v0001" if before is None else "v0002")
        assert [version.name for version in registry.versions()][-1] == name
        assert {path.name for path in (registry.root / "versions").iterdir()} <= {"v0001", "v0002"}
    assert n_left > 0


def test_reader_accepts_a_version_that_is_being_added(registry, folder, monkeypatch):
    add(registry, folder, "one")
    seen = []
    append = Registry._append

    def watched(self, *arguments):
        seen.append(Registry(registry.root).champion().name)
        event = append(self, *arguments)
        seen.append(Registry(registry.root).champion().name)
        return event

    monkeypatch.setattr(Registry, "_append", watched)
    add(registry, folder, "two")
    assert seen == ["v0001", "v0002"]


def _promote_many(root: Path, folder: Path, name: str) -> None:
    for i in range(5):
        add(Registry(root), folder / name, f"{name} {i}")


def test_concurrent_processes_lose_no_version(tmp_path, folder):
    context = multiprocessing.get_context("fork")
    root = tmp_path / "registry"
    processes = [
        context.Process(target=_promote_many, args=(root, folder, name)) for name in ("a", "b")
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
        assert process.exitcode == 0
    registry = Registry(root)
    assert [v.name for v in registry.versions()] == [f"v{i:04}" for i in range(1, 11)]
    assert sorted(v.facts["content"] for v in registry.versions()) == [
        f"{name} {i}" for name in ("a", "b") for i in range(5)
    ]
    replaced = [event.replaced for event in registry.history()]
    assert replaced == [None, *(f"v{i:04}" for i in range(1, 10))]
    assert is_complete(registry)


def test_lock_timeout_is_a_user_error(registry, folder, monkeypatch):
    add(registry, folder, "one")
    monkeypatch.setattr(module, "LOCK_SECONDS", 0.1)
    with registry.locked(), pytest.raises(UserError, match="another promotion has held"):
        Registry(registry.root).rollback()


@pytest.mark.parametrize(
    "content",
    ["{}", "[]", "", "null", "{", '{"history": []}', '{"history": [{}]}', '{"history": "v0001"}'],
)
def test_damaged_history_is_one_line_and_removes_no_version(content, registry, folder):
    add(registry, folder, "one")
    (registry.root / "champion.json").write_text(content)
    for call in (registry.champion, registry.rollback, lambda: add(registry, folder, "two")):
        with pytest.raises(UserError, match=r"champion\.json: ") as caught:
            call()
        assert "\n" not in str(caught.value)
    assert (registry.root / "versions" / "v0001" / "record.json").exists()


def test_older_history_removes_no_later_version(registry, folder):
    add(registry, folder, "one")
    older = (registry.root / "champion.json").read_text()
    add(registry, folder, "two")
    add(registry, folder, "three")
    (registry.root / "champion.json").write_text(older)
    with pytest.raises(UserError, match=r"lacks versions, but .* holds v0002, v0003"):
        add(registry, folder, "four")
    assert (registry.root / "versions" / "v0002" / "record.json").exists()


@pytest.mark.parametrize("content", ["{}", "[]", "", "null"])
def test_damaged_record_is_named(content, registry, folder):
    add(registry, folder, "one")
    (registry.root / "versions" / "v0001" / "record.json").write_text(content)
    with pytest.raises(UserError, match=r"v0001/record\.json: "):
        registry.champion()


def test_changed_version_is_neither_promoted_nor_rolled_back_to(registry, folder):
    for content in ("one", "two"):
        add(registry, folder, content)
    classifier(registry.version("v0001").classifier, "other")
    for call in (registry.rollback, lambda: registry.promote("v0001", trigger="", reason="")):
        with pytest.raises(UserError, match="v0001/classifier: the files are not those that were"):
            call()
    assert registry.champion().name == "v0002"


def test_every_changed_version_is_found(registry, folder):
    for content in ("one", "two", "three"):
        add(registry, folder, content)
    assert find_changed(registry.versions()) == {}
    os.mkfifo(registry.version("v0001").classifier / "pipe")
    (registry.version("v0003").classifier / "encoder" / "schema.json").unlink()
    assert list(find_changed(registry.versions())) == ["v0001", "v0003"]


def test_damaged_classifier_is_not_registered(registry, folder):
    write_manifest(classifier(folder, "one"))
    (folder / "encoder" / "schema.json").write_text('"changed"')
    with pytest.raises(UserError, match=r"schema\.json: has"), registry.staged(folder):
        pass
    assert registry.versions() == []
