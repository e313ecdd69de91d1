# SPDX-License-Identifier: Apache-2.0
"""Where everything of a prompt stands for the decoder: text, visual tokens, the focus on them, and the answer."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from edgevlm_ros.edge.architectures.architecture import Architecture, Sight
from edgevlm_ros.edge.engine import EngineError, Prompt
from edgevlm_ros.transfer.pruning import kept, sampled


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """A prompt as the decoder takes it: a beginning of text, then the views and what follows them.

    beginning: token ids before the first view. ids: (1, L) of the rest, every visual token in it. visual: (L,) bool,
    which of the rest are visual tokens. positions: (1, L) or (3, 1, L). kept: (K,) ascending indices into the rest of
    the tokens that the decoder sees.
    """

    beginning: tuple[int, ...]
    ids: Tensor
    visual: Tensor
    positions: Tensor
    kept: Tensor
    sights: tuple[Sight, ...]

    @property
    def length(self) -> int:
        """Tokens that the decoder sees."""
        return len(self.beginning) + len(self.kept)

    @property
    def visual_tokens(self) -> int:
        """Those of them that are visual."""
        return int(self.visual[self.kept].sum())

    def following(self, before: int, count: int) -> Tensor:
        """Positions of so many of the answer's tokens, from that with so many before it; shaped as the layout's."""
        first = self.positions.amax() + 1 + before
        return (first + torch.arange(count, device=first.device)).expand(*self.positions.shape[:-1], count)

    def shown(self, embedded: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The embeddings (1, K, D) of what is kept with the views' features in place, and their deep features."""
        number = torch.cumsum(self.visual, 0) - 1  # of each token among the visual ones
        rows = number[self.kept][self.visual[self.kept]]
        features = torch.cat([sight.features for sight in self.sights])[rows]
        deep = tuple(torch.cat(parts)[rows] for parts in zip(*(sight.deep for sight in self.sights), strict=True))
        return embedded.masked_scatter(self.visual[self.kept][None, :, None], features.to(embedded.dtype)), deep

    def bias(self, prompt: Prompt) -> tuple[Tensor, int] | None:
        """The attention bias (length,) that the prompt's focus asks for, and from which query on; None if it changes
        nothing."""
        if prompt.focus is None or prompt.beta == 0.0 or not prompt.focus.any():
            return None
        visual = torch.nonzero(self.visual).flatten()
        weights = torch.from_numpy(sampled(prompt.focus, self.sights[0].pixels.boxes)).to(self.ids.device)
        bias = torch.zeros(self.ids.shape[1], device=self.ids.device)
        bias[visual[: len(weights)]] = prompt.beta * weights
        before = len(self.beginning)
        return torch.cat([bias.new_zeros(before), bias[self.kept]]), before + int((self.kept <= visual[-1]).sum())


def laid_out(
    architecture: Architecture, beginning: tuple[int, ...], ids: Tensor, sights: tuple[Sight, ...], prompt: Prompt
) -> Layout:
    """Of a prompt's token ids: those before its views, and (1, L) from there on. It says how much of the frame is kept.

    Raises EngineError if the views have other tokens than the text has room for.
    """
    visual = ids[0] == architecture.image_token_id
    where = torch.nonzero(visual).flatten()
    seen = sum(len(sight.features) for sight in sights)
    if len(where) != seen:
        raise EngineError(f"the prompt has room for {len(where)} visual tokens, and its views have {seen}")
    stay = torch.ones_like(visual)
    if prompt.focus is not None and prompt.keep < 1.0:
        boxes = sights[0].pixels.boxes
        chosen = kept(sampled(prompt.focus, boxes), prompt.keep)
        frame = where[: len(boxes)]
        stay[frame] = False
        stay[frame[torch.from_numpy(chosen).to(ids.device)]] = True
    positions = architecture.positions(ids, sights) + len(beginning)
    return Layout(beginning, ids, visual, positions, torch.nonzero(stay).flatten(), sights)
