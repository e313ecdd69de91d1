# SPDX-License-Identifier: Apache-2.0
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMED = re.findall(r"`(test/[\w/]+\.py)::(test_\w+)`", (ROOT / "SECURITY.md").read_text())


@pytest.mark.parametrize(("file", "test"), NAMED)
def test_the_test_that_a_promise_names_is_there(file: str, test: str) -> None:
    assert f"def {test}(" in (ROOT / file).read_text()


def test_there_are_promises() -> None:
    assert len(NAMED) > 20
