"""Page of a run in the Prefect UI: stages, files with hashes, parameters and changes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from prefect.artifacts import create_markdown_artifact

from flows.pipeline.dvc_graph import Stage
from flows.pipeline.git import git
from flows.pipeline.history import difference
from semigen.artifacts import Layout, read_json
from semigen.errors import UserError
from semigen.evaluation.estimates import Estimate, Gain
from semigen.registry.question import Question
from semigen.registry.registry import Registry
from semigen.report.markdown import escape, table
from semigen.wording import printable

MAX_DIFFERENCE_LINES = 200
SHORT = 8
"""Number of digits of a commit that are shown."""


def headline(layout: Layout, ran: Mapping[str, bool]) -> str:
    """Return the accuracy and the stages of a run in one line."""
    done = [stage for stage, has_run in ran.items() if has_run]
    if not done:
        return f"Nothing changed: all {len(ran)} stages are up to date"
    text = f"ran all {len(ran)} stages" if len(done) == len(ran) else f"ran {', '.join(done)}"
    if layout.metrics.exists():
        accuracy = Estimate.from_json(read_json(layout.metrics)["test"]["accuracy"])
        text = f"Accuracy {accuracy:.1%}; {text}"
    return text


def show_run(layout: Layout, stages: Sequence[Stage], ran: Mapping[str, bool]) -> None:
    """Create the page as an artifact of the current run."""
    summary = headline(layout, ran)
    create_markdown_artifact(page(layout, stages, ran, summary), key="run", description=summary)


def page(layout: Layout, stages: Sequence[Stage], ran: Mapping[str, bool], summary: str) -> str:
    """Return the page as Markdown."""
    parts = [
        f"# {summary}",
        _facts(layout),
        "## Stages",
        _stages(layout, ran),
        "## Files, by MD5",
        _files(layout, ran),
        "## Parameters",
        _fenced(layout.params.read_text(encoding="utf-8"), "yaml"),
    ]
    changes = difference(layout.root, stages).splitlines()
    if changes:
        shown = changes[:MAX_DIFFERENCE_LINES]
        if len(changes) > len(shown):
            shown.append(f"... {len(changes) - len(shown)} more lines: git diff HEAD")
        parts += ["## Not committed to git", _fenced("\n".join(shown), "diff")]
    return "\n\n".join(parts) + "\n"


def champion_line(layout: Layout) -> str:
    """Return the champion of the project's question, with the reason of its promotion."""
    registry = Registry(layout.registry)
    champion = registry.champion(Question.of_project(layout))
    if champion is None:
        return "none yet"
    event = [e for e in registry.history() if e.version == champion.name and e.move != "kept"][-1]
    reason = printable(event.reason)
    return f"{champion.name}, {event.move} {event.time[:16].replace('T', ' ')} UTC: {reason}"


def _facts(layout: Layout) -> str:
    facts = {"Champion": escape(champion_line(layout)), "Code": _code(layout)}
    if layout.metrics.exists():
        metrics = read_json(layout.metrics)
        accuracy = Estimate.from_json(metrics["test"]["accuracy"])
        baseline = Estimate.from_json(metrics["labels_only"]["accuracy"])
        facts = {
            "Accuracy": f"{accuracy:.1%} on {metrics['n_test']} test rows",
            "Labels only": f"{baseline:.1%}",
            "Gain": f"{Gain.from_json(metrics['gain']['accuracy']):+.1p}",
            "Selected": escape(metrics["selected"]),
            **facts,
        }
    return table(("", ""), [(f"**{name}**", text) for name, text in facts.items()])


def _code(layout: Layout) -> str:
    try:
        commit = git(layout.root, "rev-parse", f"--short={SHORT}", "HEAD")
        is_changed = git(layout.root, "status", "--porcelain", "--untracked-files=no")
    except UserError:
        return "not in git"
    return f"commit `{commit}`{', with uncommitted changes' if is_changed else ''}"


def _stages(layout: Layout, ran: Mapping[str, bool]) -> str:
    seconds = read_json(layout.timings) if layout.timings.exists() else {}
    rows = [
        (name, "ran", f"{seconds[name]:.1f} s" if name in seconds else "")
        if has_run
        else (name, "cached", "")
        for name, has_run in ran.items()
    ]
    return table(("stage", "", "time"), rows)


def _files(layout: Layout, ran: Mapping[str, bool]) -> str:
    """Return the inputs of the pipeline, and the files that the stages wrote."""
    locked = _locked(layout)
    written = [(name, out) for name in ran for out in locked.get(name, {}).get("outs", [])]
    made = {out["path"] for _, out in written}
    deps = [dep for name in ran for dep in locked.get(name, {}).get("deps", [])]
    read = {dep["path"]: dep for dep in deps if dep["path"] not in made}
    found = [("read", dep) for dep in read.values()] + written
    rows = [(escape(f["path"]), f"`{f['md5']}`" if "md5" in f else "", by) for by, f in found]
    return table(("file", "MD5", "by"), rows)


def _locked(layout: Layout) -> dict[str, Any]:
    path = layout.root / "dvc.lock"
    if not path.exists():
        return {}
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return (yaml.load(path.read_text(encoding="utf-8"), loader) or {}).get("stages", {})


def _fenced(text: str, language: str) -> str:
    # A fence ends the block only if it is as long as the one that starts it.
    fence = "`" * (max(map(len, re.findall("`{3,}", text)), default=2) + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"
