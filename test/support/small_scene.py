# SPDX-License-Identifier: Apache-2.0
"""A scene of four seconds in which a cart passes, and two models of which each knows a half.

The cart carries gas and is on the left until 2 s, on the right from then on. The small model sees where it is and says
"boxes" until it is told what the cart carries; the large one sees both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevlm_ros.cloud.selection import Rule
from edgevlm_ros.edge.engine import Capabilities, Completion, OnToken, Prompt, Stop
from edgevlm_ros.edge.loading import EngineSettings
from edgevlm_ros.evaluation import timings
from edgevlm_ros.evaluation.large_model import Spoken
from edgevlm_ros.evaluation.latency import latency
from edgevlm_ros.evaluation.outcomes import Key, Run
from edgevlm_ros.evaluation.policies.policy import Knobs
from edgevlm_ros.evaluation.policies.registry import POLICIES
from edgevlm_ros.evaluation.remembering import RememberingEngine
from edgevlm_ros.evaluation.robot import Bridge, Robot
from edgevlm_ros.evaluation.scoring import scored
from edgevlm_ros.evaluation.simulation import Played, Scene
from edgevlm_ros.evaluation.streams import Stream, open_stream
from edgevlm_ros.evaluation.timings import Timings
from edgevlm_ros.transfer.conversation import Exchange
from edgevlm_ros.transfer.focus import FOCUS_MODES, Focus
from edgevlm_ros.transfer.history import Replacement
from edgevlm_ros.transfer.types import Image, Question
from support.small_bag import SmallBag, at_5_hz, stamp

CART = Question("What does the cart carry, and where is it?")
SECONDS, TURN = 4.0, 2.0
COSTS = {
    timings.EDGE: 0.02,
    timings.TOLD: 0.025,
    timings.FOCUSED: 0.03,
    timings.TAKE_IN: 0.01,
    timings.CLOUD: 0.1,
    timings.CLOUD_EYES: 0.04,
    timings.CLOUD_TOKEN: 0.002,
}


class SmallModel:
    """Sees the side, and repeats the load that it was told."""

    name = "small"
    capabilities = Capabilities(frozenset(FOCUS_MODES), choices=True)

    def __init__(self, confidence: float = 0.5) -> None:
        self.confidence = confidence
        self.prompts: list[Prompt] = []

    def grid(self, width: int, height: int) -> tuple[int, int]:
        return 3, 4

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def see(self, image: Image) -> NDArray[np.float32] | None:
        return None

    def prepare(self, history: Sequence[Exchange]) -> None:
        pass

    def complete(self, prompt: Prompt, on_token: OnToken | None = None, stop: Stop | None = None) -> Completion:
        self.prompts.append(prompt)
        load = prompt.history[-1].said.split(",")[0] if prompt.history else "boxes"
        side = "left" if prompt.images[0].mean() < 20 * TURN - 2 else "right"
        return Completion(f"{load}, {side}", self.confidence, 0.01)


def side_at(time: float) -> str:
    return "left" if time < TURN else "right"


def small_stream(path: Path, facts: bool = True) -> Stream:
    with SmallBag(path) as bag:
        bag.question(0, CART.text)
        for time in at_5_hz(SECONDS):
            bag.jpeg(time)
            bag.truth(time, f"gas, {side_at(time)}", CART.text)
            if facts:
                load = ("load", "gas", 1, 0.1, False, True)
                bag.facts(time, load, ("side", side_at(time), 1, 0.4, True, True), question=CART.text)
    return open_stream(path)


def reply(answer: str) -> Spoken:
    return Spoken(
        f'{{"answer": "{answer}", "regions": [{{"label": "cart", "bbox_2d": [100, 400, 300, 700]}}]}}', (1, 2)
    )


def robot(**bridge: Any) -> Robot:
    settings: dict[str, Any] = {"keyframes": Rule(period=1.0), "max_in_flight": 4, **bridge}
    # frames of one colour hold nothing that could be followed or compared
    replacement, focus = Replacement(min_similarity=0.0), Focus("crop", carry="none")
    return Robot(EngineSettings("small"), replacement, focus, Bridge(**settings), "large")


def constant(costs: Mapping[str, float] = COSTS) -> Timings:
    return Timings({kind: (seconds,) for kind, seconds in costs.items()}, {"machine": "none"})


def small_scene(path: Path, small: SmallModel | None = None, **bridge: Any) -> Scene:
    """The large model cannot be asked beyond its replies, which are there for all frames."""
    stream = small_stream(path)
    replies = {(stamp(time), CART.text): reply(f"gas, {side_at(time)}") for time in at_5_hz(SECONDS)}
    strange = {stamp(time): reply("acid, left") for time in at_5_hz(SECONDS)}

    def nobody() -> Any:
        raise AssertionError("the large model was asked again")

    engine = RememberingEngine(small or SmallModel())
    return Scene(stream, robot(**bridge), engine, nobody, replies, strange, constant())


def played(scene: Scene, policy: str, delay: str, knobs: Knobs | None = None) -> Played:
    chosen = POLICIES[policy]
    known = POLICIES.get(chosen.knobs_of, chosen).candidates[0] if knobs is None else knobs
    return chosen.play(scene, latency(delay), known)


def run_of(scene: Scene, policy: str, delay: str, knobs: Knobs | None = None) -> Run:
    key = Key(policy, scene.stream.dataset, scene.stream.name, "test", delay, 0)
    return scored(scene.stream, key, played(scene, policy, delay, knobs))


def accuracy(scene: Scene, policy: str, delay: str, knobs: Knobs | None = None) -> float:
    correct = run_of(scene, policy, delay, knobs).correct
    return sum(correct) / len(correct)
