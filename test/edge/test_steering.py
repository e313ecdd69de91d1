# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import torch

from edgevlm_ros.edge.steering import steered_mask


def test_every_form_of_mask_means_the_same() -> None:
    bias = torch.tensor([0.0, 1.0, 2.0, 0.0])
    causal = torch.tril(torch.ones(4, 4, dtype=torch.bool))[None, None]
    additive = torch.zeros(1, 1, 4, 4).masked_fill(~causal, float("-inf"))
    from_none = steered_mask(None, bias, 2, 0, 4)
    assert torch.equal(from_none, steered_mask(causal, bias, 2, 0, 4))
    assert torch.equal(from_none, steered_mask(additive, bias, 2, 0, 4))


def test_only_queries_after_the_image_are_steered() -> None:
    bias = torch.tensor([0.0, 1.0, 2.0, 0.0])
    mask = steered_mask(None, bias, 3, 0, 4)[0, 0]
    assert mask[2, 1] == 0.0
    assert mask[3].tolist() == bias.tolist()
    assert mask[0, 1] == float("-inf")


def test_a_decoded_token_is_steered_and_sees_all_before_it() -> None:
    bias = torch.tensor([0.0, 1.0, 2.0])
    mask = steered_mask(None, bias, 2, past=4, queries=1)
    assert mask[0, 0].tolist() == [[0.0, 1.0, 2.0, 0.0, 0.0]]
