# SPDX-License-Identifier: Apache-2.0
"""Which visual tokens go up when not all may: those that differ most from each other.

Neither training nor the question is needed, since the robot's half of the model has read none. What looks alike, such
as wall and floor, stands for itself once; a thing that stands out stays. It is the farthest-point rule of DivPrune
(Alvar et al., CVPR 2025) on cosine distance.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def diverse(features: NDArray[np.float32], keep: float) -> NDArray[np.int16]:
    """Indices of the tokens that stay, ascending. features: (n, D). keep: share that stays; at least one token does."""
    count = len(features)
    total = max(1, round(keep * count))
    if total >= count:
        return np.arange(count, dtype=np.int16)
    directions = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    chosen = [int(np.argmin(directions @ directions.mean(0)))]
    nearest = directions @ directions[chosen[0]]  # the cosine to the closest token that was chosen
    for _ in range(total - 1):
        nearest[chosen[-1]] = np.inf
        chosen.append(int(np.argmin(nearest)))
        np.maximum(nearest, directions @ directions[chosen[-1]], out=nearest)
    return np.sort(np.array(chosen, np.int16))
