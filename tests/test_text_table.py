from skyeye_det.text_table import aligned


def test_columns_start_or_end_below_each_other() -> None:
    rows = [("name", "count", "rule"), ("a", "10", "left out"), ("long name", "2", "")]
    assert aligned(rows).splitlines() == [
        "name       count      rule",
        "a             10  left out",
        "long name      2",
    ]
    assert aligned(rows, "<><").splitlines() == [
        "name       count  rule",
        "a             10  left out",
        "long name      2",
    ]
    assert aligned([("a", "b"), ("10", "200")], ">") == " a    b\n10  200"


def test_what_no_terminal_shows_is_escaped_before_it_is_measured() -> None:
    assert aligned([("a\nb", "1"), ("c", "2")]) == "a\\nb  1\nc     2"


def test_one_column_is_no_wider_than_its_cells() -> None:
    assert aligned([("a",), ("bc",)], ">") == " a\nbc"
