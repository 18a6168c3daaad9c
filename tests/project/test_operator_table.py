"""The page of covered operators says what the tables say."""

from tests.project.operator_table import PAGE, page


def test_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run python -m tests.project.operator_table"
