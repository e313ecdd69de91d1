# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from edgevlm_ros.world.dataset import HEIGHT, WIDTH
from edgevlm_ros.world.render import Renderer, RenderingUnavailable, require_rendering


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """Models this small are quickest on one thread, by far so on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def rendering() -> None:
    """For tests that render: skipped where there is no OpenGL, with what to install."""
    try:
        require_rendering()
    except RenderingUnavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def renderer(rendering: None) -> Iterator[Renderer]:
    with Renderer(WIDTH, HEIGHT) as made:
        yield made
