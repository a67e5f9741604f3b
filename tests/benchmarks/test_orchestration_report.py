from __future__ import annotations

from benchmarks.orchestration_report import Record, bars, summary


def record(what: str, repetition: int, seconds: float, cpu: float, stages: float = 0) -> Record:
    figures = {"seconds": seconds, "cpu_seconds": cpu, "load": 1.0, "stages": {"train": stages}}
    return {"what": what, "repetition": repetition, **figures}


RECORDS = [
    record("default: functions", 0, 40, 40, 39),
    record("default: flow", 0, 47, 49, 40),
    record("default: flow", 1, 100, 49, 90),  # as slow as its pair
    record("default: functions", 1, 94, 40, 93),
    record("two minutes: functions", 0, 120, 120, 119),
    record("two minutes: flow", 0, 129, 125, 119),
    record("no-op: flow", 0, 2.9, 2.0),
    record("hop: worker", 0, 9, 0),
    record("hop: in place", 0, 2, 0),
]


def test_compares_commands_of_the_same_repetition():
    lines = {line.split(" | ")[0]: line for line in bars(RECORDS)}
    assert "6.5 s (6.0 to 7.0) | 8 s | met" in bars(RECORDS)[0]
    assert "9.0 CPU s (9.0 to 9.0) | 8 CPU s | missed" in bars(RECORDS)[1]
    assert "7.5 % (7.5 to 7.5) | 5 % | missed" in lines["| flow beside functions, two minutes, s"]
    assert "4.2 %" in lines["| flow beside functions, two minutes, CPU s"]
    assert "7.0 s" in lines["| hop to a warm gpu worker"]
    assert not any("dvc repro" in line for line in lines)


def test_reports_time_outside_of_stages():
    about = {"date": "2026-11-26", "machine": "m", "command": "c"}
    assert "of default, 8.5 s (median)" in summary(RECORDS, about)
