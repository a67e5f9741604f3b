"""The tables of ``benchmarks.orchestration``: medians, differences and limits."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

Record = dict[str, Any]
"""One command: ``what``, ``repetition``, ``seconds``, ``cpu_seconds`` and, for runs, ``stages``."""
SHARE_BAR, DEFAULT_BAR, FLOW_BAR, DVC_BAR, HOP_BAR = 0.05, 8.0, 3.0, 2.0, 6.0


def values(records: Sequence[Record], what: str, key: str = "seconds") -> list[float]:
    """Return one figure of a kind of command, ordered by repetition."""
    found = [record for record in records if record["what"] == what]
    return [float(r[key]) for r in sorted(found, key=lambda record: record["repetition"])]


def excess(records: Sequence[Record], more: str, less: str, key: str = "seconds") -> list[float]:
    """Return the differences between two kinds of commands, by repetition."""
    pairs = zip(values(records, more, key), values(records, less, key), strict=True)
    return [a - b for a, b in pairs]


def around_stages(records: Sequence[Record], what: str) -> list[float]:
    """Return the duration of each run without its stages."""
    found = [record for record in records if record["what"] == what]
    return [float(r["seconds"]) - sum(r["stages"].values()) for r in found]


def summary(records: Sequence[Record], about: Mapping[str, Any]) -> str:
    """Return the report as Markdown."""
    kinds = list(dict.fromkeys(record["what"] for record in records))
    loads = [record["load"] for record in records]
    lines = [
        "# What the orchestration costs",
        "",
        f"{about['date']}, {about['machine']}, `{about['command']}`",
        "",
        *([about["note"], ""] if "note" in about else []),
        f"Load average before each command: median {statistics.median(loads):.1f}, "
        f"{min(loads)} to {max(loads)}.",
        "",
        "| bar | measured (median, range) | limit | |",
        "| --- | ---: | ---: | --- |",
        *bars(records),
        "",
        "| command | repetitions | median s | range | median CPU s |",
        "| --- | ---: | ---: | ---: | ---: |",
        *(_command(records, kind) for kind in kinds),
        "",
        *(line for size in ("default", "two minutes") for line in _around(records, size)),
    ]
    return "\n".join(lines) + "\n"


def bars(records: Sequence[Record]) -> list[str]:
    """Return a line of the table for each limit that was measured."""
    lines = []
    kinds = {record["what"] for record in records}
    for size, limit in (("default", DEFAULT_BAR), ("two minutes", None)):
        flow, functions = f"{size}: flow", f"{size}: functions"
        if not {flow, functions} <= kinds:
            continue
        for key, unit in (("seconds", "s"), ("cpu_seconds", "CPU s")):
            found = excess(records, flow, functions, key)
            if limit is not None:
                lines.append(_bar(f"flow beside functions, {size}", found, limit, unit))
            else:
                base = values(records, functions, key)
                shares = [100 * a / b for a, b in zip(found, base, strict=True)]
                what = f"flow beside functions, {size}, {unit}"
                lines.append(_bar(what, shares, 100 * SHARE_BAR, "%"))
    for what, limit in (("no-op: flow", FLOW_BAR), ("no-op: dvc repro", DVC_BAR)):
        if what in kinds:
            lines.append(_bar(what, values(records, what), limit, "s"))
            lines.append(_bar(what, values(records, what, "cpu_seconds"), limit, "CPU s"))
    if "hop: worker" in kinds:
        found = excess(records, "hop: worker", "hop: in place")
        lines.append(_bar("hop to a warm gpu worker", found, HOP_BAR, "s"))
    return lines


def _bar(what: str, found: Sequence[float], limit: float, unit: str) -> str:
    middle = statistics.median(found)
    measured = f"{middle:.1f} {unit} ({min(found):.1f} to {max(found):.1f})"
    return f"| {what} | {measured} | {limit:g} {unit} | {'met' if middle <= limit else 'missed'} |"


def _command(records: Sequence[Record], what: str) -> str:
    seconds = values(records, what)
    spread = f"{min(seconds):.1f} to {max(seconds):.1f}"
    cpu = [float(r["cpu_seconds"]) for r in records if r["what"] == what and "cpu_seconds" in r]
    cpu_seconds = f"{statistics.median(cpu):.1f}" if cpu else ""
    return (
        f"| {what} | {len(seconds)} | {statistics.median(seconds):.1f} | {spread} | {cpu_seconds} |"
    )


def _around(records: Sequence[Record], size: str) -> list[str]:
    what = f"{size}: flow"
    if not values(records, what):
        return []
    found = around_stages(records, what)
    return [
        f"Within the flows of {size}, {statistics.median(found):.1f} s (median) passed beside the "
        "stages' own seconds: starts of processes, imports, DVC, Prefect, promotion.",
        "",
    ]
