"""The page of faults says what the tables of the tests say."""

from tests.runtime import table_of_faults


def test_page_is_up_to_date() -> None:
    assert table_of_faults.PAGE.read_text(encoding="utf-8") == table_of_faults.page(), (
        "run python -m tests.runtime.table_of_faults"
    )


def test_there_are_enough_and_each_has_a_test() -> None:
    assert table_of_faults.count() >= 150
    assert table_of_faults.missing_tests() == []
