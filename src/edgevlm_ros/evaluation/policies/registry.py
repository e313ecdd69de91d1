# SPDX-License-Identifier: Apache-2.0
"""All policies by name, in the order of tables."""

from __future__ import annotations

from collections.abc import Iterable

from edgevlm_ros.evaluation.policies import (
    cloud_only,
    cloud_oracle,
    edge_centre,
    edge_only,
    edgevlm,
    keyframes,
    offload_confidence,
    offload_deadline,
    parallel_fuse,
    partitioned,
    speculative,
    transfer_limit,
)
from edgevlm_ros.evaluation.policies.policy import Policy

_ALL = (
    edge_only.POLICY,
    edge_centre.VIEW,
    edge_centre.MEMORY,
    cloud_only.POLICY,
    offload_confidence.POLICY,
    offload_deadline.POLICY,
    partitioned.POLICY,
    speculative.POLICY,
    parallel_fuse.POLICY,
    edgevlm.POLICY,
    *edgevlm.ABLATIONS,
    *keyframes.KEYFRAMES,
    transfer_limit.POLICY,
    cloud_oracle.POLICY,
)
POLICIES = {policy.name: policy for policy in _ALL}
ABLATIONS = tuple(policy.name for policy in edgevlm.ABLATIONS)
KEYFRAMES = tuple(policy.name for policy in keyframes.KEYFRAMES)


def chosen(names: Iterable[str]) -> tuple[Policy, ...]:
    """The policies of these names, in the order of tables; "all" names all, "ablations" the ablations,
    "keyframes" edgeVLM at all rates of keyframes. Raises ValueError for a name that is none."""
    groups = {"all": tuple(POLICIES), "ablations": ABLATIONS, "keyframes": KEYFRAMES}
    wanted = {policy for name in names for policy in groups.get(name, (name,))}
    unknown = sorted(wanted - set(POLICIES))
    if unknown:
        raise ValueError(
            f"unknown policy {unknown[0]!r}: take some of {', '.join(POLICIES)}, ablations, keyframes or all"
        )
    return tuple(policy for name, policy in POLICIES.items() if name in wanted)
