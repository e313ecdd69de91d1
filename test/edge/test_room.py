# SPDX-License-Identifier: Apache-2.0
"""Too little memory is told before anything is loaded, with what to do."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from edgevlm_ros.edge.engine import EngineError
from edgevlm_ros.edge.memory_need import GIB
from edgevlm_ros.edge.model_shape import shape_of_model
from edgevlm_ros.edge.room import MACHINES, check_room, chosen_quantization, room_of

NANO, AGX = MACHINES["orin-nano-8gb"], MACHINES["agx-orin-64gb"]
LARGE = "Qwen/Qwen2.5-VL-7B-Instruct"


def test_more_than_there_is_is_refused_with_what_fits() -> None:
    with pytest.raises(EngineError, match=r"needs about 9\.\d GiB, and Jetson Orin Nano .* smaller model"):
        check_room("it", shape_of_model("Qwen/Qwen2.5-VL-3B-Instruct"), "none", NANO)
    with pytest.raises(EngineError, match="set quantization to nf4"):
        check_room("it", shape_of_model("HuggingFaceTB/SmolVLM2-2.2B-Instruct"), "none", replace(NANO, total=7 * GIB))
    with pytest.raises(EngineError, match=r"as nf4, and .* take a smaller model .*edgevlm models"):
        check_room("it", shape_of_model(LARGE), "nf4", NANO)


def test_more_than_is_free_is_a_warning() -> None:
    shape = shape_of_model(LARGE)
    assert check_room("it", shape, "none", AGX) == ""
    assert "5.0 GiB are free: set quantization to nf4" in check_room("it", shape, "none", replace(AGX, free=5 * GIB))


def test_auto_is_full_precision_where_there_is_room_for_it_and_four_bits_elsewhere() -> None:
    shape = shape_of_model(LARGE)
    assert chosen_quantization("it", shape, AGX) == "none"
    assert chosen_quantization("it", shape, MACHINES["orin-nx-16gb"]) == "nf4"
    with pytest.raises(EngineError, match="as nf4, and Jetson Orin Nano"):
        chosen_quantization("it", shape, NANO)


def test_four_bits_are_taken_although_little_is_left_for_others() -> None:
    shape = shape_of_model("Qwen/Qwen2.5-VL-3B-Instruct")
    tight = replace(NANO, total=int(6.5 * GIB), free=6 * GIB)
    assert chosen_quantization("it", shape, tight) == "nf4"


def test_this_machine_has_memory_and_some_of_it_is_free() -> None:
    here = room_of(torch.device("cpu"))
    assert here.place == "cpu"
    assert 0 < here.free <= here.total
    assert here.usable < here.total


@pytest.mark.parametrize("integrated", [0, 1])
def test_a_gpu_without_memory_of_its_own_has_what_the_system_can_give(
    monkeypatch: pytest.MonkeyPatch, integrated: int
) -> None:
    properties = SimpleNamespace(name="Orin", is_integrated=integrated)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1, 2))
    here = room_of(torch.device("cuda"))
    assert (here.place, here.free > 2) == (("jetson", True) if integrated else ("gpu", False))
