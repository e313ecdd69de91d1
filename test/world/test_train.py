# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from edgevlm_ros.transfer.conversation import worded
from edgevlm_ros.transfer.geometry import crop_box
from edgevlm_ros.transfer.types import Region, Source
from edgevlm_ros.world import questions as q
from edgevlm_ros.world.samples import (
    CELL_LABELS,
    NOW,
    OLDEST,
    Ask,
    Shot,
    cells,
    crop_around,
    gone,
    invented,
    make_ask,
    remembered,
    through,
    turn,
    wrongness,
)
from edgevlm_ros.world.train import Trainee, begin_with, save

WINDOW = (0.0, 0.0, 320.0, 240.0)


@pytest.fixture(scope="module")
def shot() -> Shot:
    rng = np.random.default_rng(3)
    frame = Image.fromarray(rng.integers(0, 256, (24, 32, 3), np.uint8)).resize((320, 240))
    classes = np.zeros((120, 160), np.uint8)
    classes[60:80, 20:60] = 2  # cart
    classes[62:76, 30:44] = 3  # its placard
    return Shot(frame, WINDOW, classes, q.seen_in({"load": "acid"}, classes))


@pytest.fixture(scope="module")
def asks(shot: Shot) -> list[Ask]:
    turns = (turn(q.CART, "gas, left", 7.0), turn(q.CART, "no cart", 3.0, Source.EDGE))
    return [
        Ask(shot, list(q.DEMO), turns, crop_around((0.125, 0.5, 0.375, 2 / 3), WINDOW, None)),
        Ask(shot, [q.LOAD]),
    ]


def test_positions_are_those_of_qwen(asks: list[Ask]) -> None:
    """For the first question of a packed sample, which is all that a sequence holds outside training."""
    trainee = Trainee("svlm")
    batch = trainee.batch(asks, None)
    for row, ask in enumerate(asks):
        length = int(((batch.segment[row] == 0) | (batch.segment[row] == 1)).sum())
        ids = batch.ids[row : row + 1, :length]
        types = (ids == trainee.model.config.image_token_id).int()
        grid = torch.tensor([[1, 6, 8]] * (2 if ask.crop else 1))
        stock, _ = trainee.model.model.get_rope_index(ids, types, image_grid_thw=grid)
        assert torch.equal(batch.positions[:, row, :length], stock[:, 0])


@pytest.mark.parametrize("kind", ["svlm", "lvlm"])
def test_questions_packed_together_do_not_hear_each_other(kind: str, shot: Shot) -> None:
    torch.manual_seed(0)
    trainee = Trainee(kind).eval()
    with torch.no_grad():
        packed, _ = trainee(trainee.batch([Ask(shot, [q.CART, q.WHERE_PERSON, q.STATE])], None))
        alone = [trainee(trainee.batch([Ask(shot, [one])], None))[0] for one in (q.CART, q.WHERE_PERSON, q.STATE)]
    torch.testing.assert_close(packed, torch.cat(alone), atol=2e-4, rtol=1e-3)


def test_a_packed_pass_is_the_models_own_forward_pass(asks: list[Ask]) -> None:
    torch.manual_seed(0)
    trainee = Trainee("svlm").eval()
    ask = Ask(asks[0].shot, [q.CART], asks[0].turns, asks[0].crop)
    batch = trainee.batch([ask], None)
    with torch.no_grad():
        ours, _ = trainee(batch)
        stock = trainee.model(
            input_ids=batch.ids,
            pixel_values=batch.images.flatten(0, 1),
            image_grid_thw=torch.tensor([[1, 6, 8]] * 2),
            mm_token_type_ids=(batch.ids == trainee.model.config.image_token_id).int(),
        ).logits[0][batch.targets[0] >= 0]
    torch.testing.assert_close(ours, stock, atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize("provenance", [True, False])
def test_a_packed_sample_is_worded_as_the_pipeline_words_it(shot: Shot, provenance: bool) -> None:
    trainee = Trainee("svlm")
    turns = (turn(q.CART, "gas, left", 7.0), turn(q.CART, "no cart", 3.0, Source.EDGE))
    batch = trainee.batch([Ask(shot, [q.CART], turns, None, provenance)], None)
    exchanges, text = worded(turns, q.CART, NOW, provenance)
    messages: list[dict[str, object]] = []
    for exchange in exchanges:
        messages += [{"role": "user", "content": exchange.asked}, {"role": "assistant", "content": exchange.said}]
    messages.append({"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]})
    prompt = trainee.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    ours = trainee.tokenizer.decode(batch.ids[0]).replace("<|image_pad|>" * 48, "<|image_pad|>")
    assert ours == f"{prompt}acid, left<|im_end|>"
    assert ("[3 s later]" in ours) == provenance


def test_cells_know_what_they_show(shot: Shot) -> None:
    truth = cells(shot, WINDOW, (6, 8)).reshape(6, 8, -1)
    cart, acid, person = (CELL_LABELS.index(label) for label in ("cart", "acid", "person"))
    assert truth[3, 1, cart] == 1
    assert truth[3, 1, acid] == 1
    assert truth[0, :, cart].sum() == 0
    assert truth[:, :, person].sum() == 0


def test_the_training_crop_is_the_pipelines() -> None:
    box = (0.3, 0.4, 0.45, 0.7)
    region = Region("cart", 1.0, box[0] * 320, box[1] * 240, box[2] * 320, box[3] * 240)
    assert crop_around(box, WINDOW, None) == pytest.approx(crop_box([region], 320, 240), abs=1.0)


def test_invented_histories_are_right_or_wrong_about_the_load(shot: Shot) -> None:
    rng = np.random.default_rng(0)
    right = [invented(q.CART, shot.seen, "correct", 5.0, rng) for _ in range(50)]
    wrong = [invented(q.CART, shot.seen, "wrong", 5.0, rng) for _ in range(50)]
    assert all(said.startswith("acid, ") for said in right)
    assert len(set(right)) > 1, "the side may be out of date"
    assert not any(said.startswith("acid") for said in wrong)
    assert invented(q.CART, shot.seen, "gone", 5.0, rng) == "no cart"
    possible = {f"{load}, {side}" for load in q.VALUES["load"] for side in q.SIDES}
    assert possible.issuperset(right + wrong)


def test_the_older_an_invented_answer_the_likelier_it_is_out_of_date(shot: Shot) -> None:
    rng = np.random.default_rng(0)

    def right(age: float) -> float:
        said = [remembered(q.CART, shot.seen, age, rng, 1.0).text for _ in range(300)]
        return sum(text == "acid, left" for text in said) / len(said)

    assert right(1.0) > 0.6 > right(5.0) > right(14.0)
    assert gone(1.0) < gone(5.0) < gone(OLDEST)
    assert wrongness(1.0, Source.CLOUD) < wrongness(1.0, Source.EDGE) < wrongness(OLDEST, Source.EDGE)


def test_most_samples_say_who_spoke_some_do_not_and_some_have_no_history(shot: Shot) -> None:
    rng = np.random.default_rng(0)
    made = [make_ask(shot, rng, told=0.8, doubt=1.0, crop=0.4, count=4) for _ in range(400)]
    told = [ask for ask in made if ask.turns]
    assert 0.75 < len(told) / len(made) < 0.85
    assert 0.55 < sum(ask.provenance for ask in told) / len(made) < 0.65
    assert {t.source for ask in told for t in ask.turns} == {Source.EDGE, Source.CLOUD}
    assert all(0 < NOW - t.stamp < 22e9 for ask in told for t in ask.turns)
    assert all([t.stamp for t in ask.turns] == sorted(t.stamp for t in ask.turns) for ask in told)


def test_ambiguous_things_are_not_asked_about(shot: Shot) -> None:
    rng = np.random.default_rng(0)
    vague = Shot(shot.frame, WINDOW, shot.classes, q.Observation(ambiguous=("cart", "machine")))
    for _ in range(20):
        asked = make_ask(vague, rng, told=0.6, doubt=1.0, crop=0.5, count=9).questions
        assert set(asked) == {q.WHERE_PERSON, q.CROSSING, q.GESTURE, q.WHO, q.SIGN}


def test_training_begins_with_what_fits_of_a_saved_model(tmp_path: Path) -> None:
    before, now = Trainee("svlm"), Trainee("svlm")
    save(before, tmp_path)
    now.tokenizer.add_tokens(["another"])
    assert begin_with(now, tmp_path) == len(before.model.state_dict())
    for one, other in zip(before.model.parameters(), now.model.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-3)  # saved in half precision


def test_a_window_shows_what_is_inside_it(shot: Shot) -> None:
    assert through(shot.seen.facts, shot.classes, (160.0, 0.0, 320.0, 120.0)).boxes == {}
    nearer = through(shot.seen.facts, shot.classes, (20.0, 60.0, 180.0, 180.0))
    assert q.answer(q.CART, nearer) == "acid, left"
    assert nearer.sizes["load"] == pytest.approx(2 * shot.seen.sizes["load"], rel=0.05)


def test_a_step_of_training_lowers_the_loss(asks: list[Ask]) -> None:
    torch.manual_seed(0)
    trainee = Trainee("svlm")
    optimiser = torch.optim.AdamW(trainee.parameters(), lr=1e-3)
    batch = trainee.batch(asks, None)
    losses = []
    for _ in range(6):
        said, auxiliary = trainee.losses(batch)
        optimiser.zero_grad()
        (said + auxiliary).backward()
        optimiser.step()
        losses.append((said + auxiliary).item())
    assert losses[-1] < 0.8 * losses[0]


def test_the_lvlms_packed_pass_is_the_models_own_forward_pass(shot: Shot) -> None:
    """LLaVA's features are those before the vision tower's last LayerNorm, which are easily mistaken."""
    torch.manual_seed(0)
    trainee = Trainee("lvlm").eval()
    batch = trainee.batch([Ask(shot, [q.CART])], None)
    with torch.no_grad():
        torch.nn.init.normal_(trainee.model.model.vision_tower.get_input_embeddings().weight, std=2.0)
        ours, _ = trainee(batch)
        stock = trainee.model(input_ids=batch.ids, pixel_values=batch.images).logits[0][batch.targets[0] >= 0]
    torch.testing.assert_close(ours, stock, atol=2e-4, rtol=1e-3)
