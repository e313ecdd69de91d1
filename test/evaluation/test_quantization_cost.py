# SPDX-License-Identifier: Apache-2.0
"""What quantisation costs, in figures that mean what they say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgevlm_ros.evaluation.quantization_cost import agreement, forget_what_was_read, main, markdown, used


def test_answers_agree_whole_and_token_by_token_until_the_first_other_one() -> None:
    assert agreement([(1, 2, 3, 4), (5, 6)], [(1, 2, 9, 4), (5, 6)]) == {"answers": 0.5, "tokens": 4 / 6}
    assert agreement([(1, 2)], [(1,)]) == {"answers": 0.0, "tokens": 0.5}


def test_memory_in_use_is_counted_in_bytes() -> None:
    forget_what_was_read()
    before = used()
    block = bytearray(64 * 2**20)
    block[::4096] = b"x" * len(block[::4096])
    assert 50 * 2**20 < used() - before < 100 * 2**20


def test_one_way_to_load_a_model_is_a_line_of_figures(tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(tiny_model), "--quantization", "nf4", "--frames", "2"])
    row = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert len(row["tokens"]) == 2
    assert row["resident"] > 100e6
    assert min(row["load_s"], row["answer_ms"]) > 0


def test_the_table_has_a_row_for_each_way() -> None:
    row = {
        "disk": 5e6,
        "formula": {"weights": 2**20, "total": 2**21},
        "resident": 3 * 2**20,
        "load_s": 1.0,
        "answer_ms": 20.0,
    }
    other = {"way": "nf4", **row, "agreement": {"answers": 0.5, "tokens": 0.75}}
    about = {"command": "c", "date": "d", "machine": {"cpu": "p"}, "parameters": 1e6}
    table = markdown({**about, "rows": [{"way": "none", **row}, other]})
    assert "| none | 5 | 1 | 2 | 3 | 1.0 | 20 | - | - |" in table
    assert "| nf4 | 5 | 1 | 2 | 3 | 1.0 | 20 | 50 % | 75 % |" in table
