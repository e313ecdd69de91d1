# SPDX-License-Identifier: Apache-2.0
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ("SECURITY.md", "docs/reliability.md")
NAMED = sorted(
    {named for page in PAGES for named in re.findall(r"`(test/[\w/]+\.py)::(test_\w+)`", (ROOT / page).read_text())}
)


@pytest.mark.parametrize(("file", "test"), NAMED)
def test_the_test_that_a_promise_names_is_there(file: str, test: str) -> None:
    assert f"def {test}(" in (ROOT / file).read_text()


@pytest.mark.parametrize("page", PAGES)
def test_there_are_promises_and_each_names_its_test(page: str) -> None:
    tables = re.findall(
        r"^\| promise \| tried by \|\n\|[-|]+\|\n((?:\|.*\n)+)", (ROOT / page).read_text(), re.MULTILINE
    )
    rows = [row for table in tables for row in table.splitlines()]
    assert len(rows) > 15
    assert [row for row in rows if not re.search(r"\| `test/[\w/]+\.py::test_\w+`[^|]* \|$", row)] == []
