"""A table of customers with every kind of column that a synthetic table must not copy."""

from __future__ import annotations

import numpy as np
import pandas as pd

TARGET = "churn"
COUNTRIES = {"Rome": "Italy", "Milan": "Italy", "Oslo": "Norway", "Paris": "France"}
UNIQUE_TEXT = ("email", "note", "code")


def shop_table(n_rows: int = 300, seed: int = 0) -> pd.DataFrame:
    """Return customers: identifiers, unique text, dates, prices, constants, cities with countries,
    and towns that occur once to three times."""
    rng = np.random.default_rng(seed)
    city = rng.choice(list(COUNTRIES), n_rows)
    joined = pd.Timestamp("2021-03-01") + pd.to_timedelta(rng.integers(0, 600, n_rows), unit="D")
    left = joined + pd.to_timedelta(rng.integers(0, 200, n_rows), unit="D")
    rare = [f"Hamlet{i:02d}" for i in range(n_rows // 20) for _ in range(1 + i % 3)]
    town = np.concatenate([rare, rng.choice(["north", "south"], n_rows - len(rare))])
    spend = rng.lognormal(4, 0.6, n_rows).round(2)
    return pd.DataFrame(
        {
            "id": np.arange(1, n_rows + 1),
            "code": [f"C-{i:04d}" for i in rng.permutation(n_rows)],
            "email": [f"{name}@mail.example" for name in words(n_rows, rng)],
            "joined": joined.strftime("%d.%m.%Y"),
            "left": left.strftime("%d.%m.%Y"),
            "currency": "EUR",
            "spend": spend,
            "visits": rng.poisson(6, n_rows),
            "city": city,
            "country": [COUNTRIES[name] for name in city],
            "town": rng.permutation(town),
            "newsletter": rng.random(n_rows) < 0.4,
            "note": [" ".join(words(3, rng)) for _ in range(n_rows)],
            TARGET: np.where(spend + rng.normal(0, 20, n_rows) > 55, "stays", "leaves"),
        }
    )


def words(n: int, rng: np.random.Generator) -> list[str]:
    """Return random words of eight letters."""
    letters = rng.choice(list("abcdefghijklmnopqrstuvwxyz"), (n, 8))
    return ["".join(row) for row in letters]


def rare_towns(table: pd.DataFrame) -> list[str]:
    """Return the towns that few rows have."""
    return sorted(name for name in table["town"].unique() if name.startswith("Hamlet"))
