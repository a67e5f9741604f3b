from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semigen.errors import UserError
from semigen.tables.cells import as_text
from semigen.tables.columns import coerce_column
from semigen.tables.conventions import Conventions
from semigen.tables.inference import infer_column
from semigen.tables.schema import TableSchema
from tests.semigen.example_tables import people

N_ROWS = 200


def table(n_rows: int = N_ROWS, seed: int = 0) -> pd.DataFrame:
    return people(n_rows, seed).assign(label=np.where(np.arange(n_rows) % 3, "a", "b"))


def inferred(**kinds: str) -> TableSchema:
    return TableSchema.infer(table(), table(seed=1).drop(columns="label"), "label", kinds)


def kind_of(values: list | pd.Series) -> str:
    return infer_column(pd.Series(values, name="column")).kind


def reason_of(values: list | pd.Series, name: str = "column") -> str | None:
    return infer_column(pd.Series(values, name=name)).reason


def test_kinds_ranges_and_categories_of_a_mixed_table():
    schema = inferred()
    assert [c.kind for c in schema.columns] == ["numeric", "numeric", "category", "boolean"]
    age, income, city, member = schema.columns
    both = pd.concat([table(), table(seed=1)])
    assert (age.minimum, age.maximum, age.integer) == (both["age"].min(), both["age"].max(), True)
    assert not income.integer
    assert city.categories == ("Bonn", "Cork", "Lyon")
    assert member.categories == ("no", "yes")
    assert schema.classes == ("a", "b")


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["0", "1", "0", "1"], "boolean"),
        ([True, False, True], "boolean"),
        (["Yes", "No", "No"], "boolean"),
        (["Yes", "yes", "no"] * 3, "category"),  # three values
        ([0, 1] * 20, "boolean"),
        ([0.0, 1.0, None] * 20, "boolean"),
        ([1, 2, 3], "numeric"),
        (["1", "2.5", "-3e2"], "numeric"),
        (["1"] * 95 + ["?"] * 5 + ["2"] * 10, "numeric"),  # validation reports the "?"
        (["1", "2"] * 40 + ["A"] * 20, "category"),
        (["x", "y", "z"] * 5, "category"),
        (["x", "y"], "category"),
    ],
)
def test_kind(values: list, kind: str):
    assert kind_of(values) == kind


def test_count_that_is_rarely_positive_is_numeric():
    assert kind_of([0] * 995 + [1] * 5) == "numeric"
    assert kind_of([0] * 985 + [1] * 15) == "boolean"


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([7] * 5, "always 7"),
        ([9.0] * 5, "always 9"),
        (["x"] * 5, "always x"),
        ([None] * 5, "no value"),
        (list(range(1000, 1300)), "row number"),
        ([f"customer {i}" for i in range(50)], "identifier"),
        (["2024-01-01", "2024-02-01", "2024-02-01"] * 9, "dates"),
        (["31.12.2023", "01.01.2024"] * 9, "dates"),
        (pd.date_range("2024-01-01", periods=9).tolist(), "dates"),
        (pd.date_range("2024-01-01", periods=9, tz="UTC").tolist(), "dates"),
        (pd.to_timedelta(range(9), "h").tolist(), "dates"),
        ([[1, 2], [3]], "nested values"),
        (
            [str(i) for i in range(60)] + [f"r{i}" for i in range(40)],
            "numbers except for 40%, e.g. 'r0",
        ),
    ],
)
def test_ignored_columns_have_a_reason(values: list, reason: str):
    assert kind_of(values) == "ignore"
    assert reason in str(reason_of(values))


def test_column_without_a_name_is_ignored():
    assert reason_of([3, 1, 2, 2], name="Unnamed: 0") == "has no name"


def test_given_kinds_override_inference():
    schema = inferred(age="category", city="ignore")
    assert schema.columns[0].kind == "category"
    assert schema.columns[2].reason == "set in data.kinds"
    assert [c.name for c in schema.features] == ["age", "income", "member"]


@pytest.mark.parametrize(
    ("kinds", "words"),
    [
        ({"Age": "numeric"}, "'Age'.*age, income, city, member"),
        ({"label": "ignore"}, "'label'"),
        ({"city": "boolean"}, "'city' is set to boolean, but has 3 values"),
        ({"city": "numeric"}, "'city' is set to numeric, but has no number"),
    ],
)
def test_rejects_kinds_that_do_not_fit(kinds: dict, words: str):
    with pytest.raises(UserError, match=words):
        inferred(**kinds)


def test_only_shared_columns_are_features():
    schema = TableSchema.infer(table(), table().drop(columns=["age", "label"]), "label")
    assert [c.name for c in schema.columns] == ["income", "city", "member"]


def test_rejects_tables_without_usable_columns():
    labeled = pd.DataFrame({"id": [f"x{i}" for i in range(9)], "label": list("ababababa")})
    with pytest.raises(UserError, match="'id': 18 distinct values in 18 rows"):
        TableSchema.infer(labeled, pd.DataFrame({"id": [f"y{i}" for i in range(9)]}), "label")


def test_codes_read_as_numbers_and_as_text_are_equal():
    labeled = pd.DataFrame({"code": [1.0, 2.0, None] * 5, "label": list("abcab") * 3})
    unlabeled = pd.DataFrame({"code": ["1", "2", "A", "B"] * 5})
    (code,) = TableSchema.infer(labeled, unlabeled, "label").columns
    assert code.categories == ("1", "2", "A", "B")


def test_column_with_numbers_in_one_table_is_numeric():
    labeled = pd.DataFrame({"age": ["abc"] * 40 + ["def"] * 40, "label": ["a", "b"] * 40})
    schema = TableSchema.infer(labeled, pd.DataFrame({"age": range(18, 78)}), "label")
    assert schema.columns[0].kind == "numeric"


@given(st.lists(st.sampled_from(["a", "b", "007", "-0", "x y", "1.0"]), min_size=4, max_size=30))
def test_labels_round_trip(labels: list[str]):
    frame = pd.DataFrame({"age": range(len(labels)), "label": labels})
    schema = TableSchema.infer(frame, frame[["age"]], "label")
    codes = schema.encode_labels(frame["label"])
    assert schema.decode_labels(codes).tolist() == labels


@given(st.lists(st.integers(-20, 20), min_size=4, max_size=30))
def test_integer_labels_round_trip_and_sort_as_numbers(labels: list[int]):
    frame = pd.DataFrame({"age": range(len(labels)), "label": labels})
    schema = TableSchema.infer(frame, frame[["age"]], "label")
    decoded = schema.decode_labels(schema.encode_labels(frame["label"]))
    assert decoded.dtype == np.int64
    assert decoded.tolist() == labels
    assert [int(c) for c in schema.classes] == sorted(set(labels))


def test_missing_labels_are_minus_one_and_unknown_labels_rejected():
    schema = inferred()
    assert schema.encode_labels(pd.Series(["b", None, "a"])).tolist() == [1, -1, 0]
    with pytest.raises(UserError, match=r"'label', row 2: label 'z' is not one of .*a, b"):
        schema.encode_labels(pd.Series(["a", "z"]))


cells = st.one_of(st.none(), st.floats(-1e6, 1e6), st.integers(-99, 99).map(float))
words = st.one_of(st.none(), st.sampled_from(["Bonn", "Cork", "Oslo", "1", "1.5"]))
flags = st.one_of(st.none(), st.sampled_from(["no", "yes", "perhaps"]))


@settings(deadline=None)
@given(st.lists(st.tuples(cells, cells, words, flags), min_size=1, max_size=20))
def test_coerce_is_idempotent(rows: list[tuple]):
    frame = pd.DataFrame(rows, columns=["age", "income", "city", "member"])
    schema = inferred()
    once = schema.coerce(frame)
    pd.testing.assert_frame_equal(schema.coerce(once), once)
    assert once[["age", "income"]].dtypes.eq(float).all()
    assert once["member"].isin(["no", "yes", None]).all()


def test_coerce_selects_columns_by_name_and_reports_errors():
    schema = inferred()
    shuffled = table()[["member", "city", "label", "income", "age"]].assign(extra=1)
    assert list(schema.coerce(shuffled)) == ["age", "income", "city", "member"]
    with pytest.raises(UserError, match=r"new\.csv: missing column\(s\) 'age'"):
        schema.coerce(table().drop(columns="age"), source="new.csv")
    wrong = table().astype({"age": object})
    wrong.loc[3, "age"] = "old"
    assert schema.coerce(wrong)["age"].isna().tolist() == [i == 3 for i in range(N_ROWS)]
    wrong.loc[3, "age"] = "-1e200"
    with pytest.raises(
        UserError, match=r"new\.csv: column 'age', row 4: -1e200 is infinite or bey"
    ):
        schema.coerce(wrong, source="new.csv")


def test_infinity_is_not_a_number():
    column = infer_column(pd.Series([1.0, 2.0, 3.0], name="x"))
    typed, is_wrong = coerce_column(pd.Series([1.0, np.inf, np.nan]), column)
    assert is_wrong.tolist() == [False, True, False]
    assert typed.isna().tolist() == [False, True, True]


def test_as_text_does_not_depend_on_other_rows():
    assert as_text(pd.Series([1.0, 1.5, None])).tolist() == ["1", "1.5", None]
    assert as_text(pd.Series([1.0])).tolist() == ["1"]
    assert as_text(pd.Series([1])).tolist() == ["1"]
    assert as_text(pd.Series(["v1.0", None])).tolist() == ["v1.0", None]


def test_schema_file_round_trip(tmp_path):
    schema = inferred(city="ignore")
    schema.save(tmp_path / "schema.json")
    assert TableSchema.load(tmp_path / "schema.json") == schema


@pytest.mark.parametrize(
    ("cells", "kind", "told"),
    [
        (["1", "2", "?", "3", "-", "?", "NA"], "numeric", "10 x '-', 20 x '?'"),
        (["a", "b", "?", "NA"], "category", "10 x '?'"),
        (["yes", "no", "None"], "boolean", "10 x 'None'"),
        (["a", "b", "-"], "category", None),
        (["1", "2", "3", "NA", "4"], "numeric", None),
    ],
)
def test_unusual_marks_of_missing_cells_are_told(cells, kind, told):
    column = pd.Series(cells * 10, name="x")
    found = infer_column(column)
    assert found.kind == kind
    note = f"read as missing: {told}; set data.read.na_values if these are values"
    assert found.note == (told and note)
    assert infer_column(column, conventions=Conventions(na_values=tuple(cells[2:3]))).note is None
