from semigen.wording import count, first_few


def test_long_lists_are_shortened():
    assert first_few(["a", "b"]) == "a, b"
    assert first_few(list("abcdefg")) == "a, b, c, d, e and 2 more"
    assert first_few([]) == ""


def test_nouns_have_a_plural():
    assert [count(n, "row") for n in (0, 1, 2)] == ["0 rows", "1 row", "2 rows"]
