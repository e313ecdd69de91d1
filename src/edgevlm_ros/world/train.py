# SPDX-License-Identifier: Apache-2.0
"""Training of both micro models from scratch, on a CPU, by the clock.

What makes so small a model learn at all: an auxiliary loss on every visual token (what is in this cell, which sign,
which row, which column), batches of 16 with several questions sharing an image, mosaics full of signs, and a curriculum
of conversations that first can be trusted, later the less the older they are. The schedule runs on training minutes
rather than steps, so that a busy machine still ends with a cooled-down learning rate. Interrupted training resumes.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from tqdm import tqdm
from transformers import PreTrainedTokenizerFast

from edgevlm_ros.transfer.conversation import worded
from edgevlm_ros.world import models
from edgevlm_ros.world import questions as q
from edgevlm_ros.world.dataset import Split, load_split
from edgevlm_ros.world.mosaic import Sign, find_signs, mosaic
from edgevlm_ros.world.samples import (
    CELL_LABELS,
    NOW,
    SIGNS,
    Ask,
    Shot,
    cells,
    crop_around,
    invented,
    make_ask,
    take_shot,
    turn,
)

BATCH = 16
LEARNING_RATE = {"svlm": 1.2e-3, "lvlm": 1.0e-3}
WARM_UP = 150  # steps
TRUSTFUL = 0.35  # share of the training during which histories are mostly right
TOLD, DOUBT = 0.65, 0.2  # share of samples with a history; its wrongness as long as it is to be trusted
FRESH, OLD = (1.0, 3.0), (6.0, 12.0)  # seconds: ages of the last answer in the tests
PAIRS = 0.4  # share of the samples' frames that show two machines, drawn besides the sixth of all that do by themselves
BLURRED = 0.25  # share of the images that are smeared by motion
BOXES_LATER = 0.5  # until this share of the training box edges count little
CHECKPOINT_SECONDS = 150.0


@dataclass(frozen=True, slots=True)
class Mode:
    """A way of asking that is measured on its own.

    history: the last answer is right or wrong, or there is none. ages: seconds, from and to. crop: zoomed second view.
    provenance: whether the model is told who spoke and how long ago.
    """

    history: Literal["correct", "wrong"] | None = None
    ages: tuple[float, float] = FRESH
    crop: bool = False
    provenance: bool = True


MODES = {
    "plain": Mode(),
    "correct_history": Mode("correct"),
    "wrong_history": Mode("wrong", OLD),
    "correct_old_history": Mode("correct", OLD),
    "wrong_fresh_history": Mode("wrong"),
    "correct_bare_history": Mode("correct", provenance=False),
    "wrong_bare_history": Mode("wrong", OLD, provenance=False),
    "crop": Mode(crop=True),
    "crop_wrong_history": Mode("wrong", OLD, crop=True),
}
WATCHED = ("plain", "correct_history", "wrong_history", "crop")  # while training


@dataclass(slots=True)
class Batch:
    """One forward pass. `segment` is 0 for what all questions share, n for question n, -1 for padding."""

    images: torch.Tensor
    views: list[tuple[int, int]]  # for each image: sample, view (0 the frame, 1 the crop)
    ids: torch.Tensor  # (B, L)
    positions: torch.Tensor  # (3, B, L)
    allowed: torch.Tensor  # (B, 1, L, L) bool
    targets: torch.Tensor  # (B, L), -100 where nothing is to be said
    segment: torch.Tensor  # (B, L)
    cells: torch.Tensor  # (images, tokens, labels)
    asks: list[Ask]


class Trainee(nn.Module):
    """A micro model with the auxiliary head that training needs and the saved model does not."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.tokenizer = models.make_tokenizer()
        self.model: Any = models.make_svlm(self.tokenizer) if kind == "svlm" else models.make_lvlm(self.tokenizer)
        self.grid = models.SVLM_GRID if kind == "svlm" else models.LVLM_GRID
        width = self.model.config.text_config.hidden_size
        self.auxiliary = nn.Linear(width, len(CELL_LABELS) + sum(self.grid))
        self._encoded: dict[str, list[int]] = {}
        edges = range(0, 1001, models.BOX_STEP)
        self._numbers = torch.tensor(sorted({t for n in edges for t in self.tokens(f"{n}") + self.tokens(f" {n}")}))

    def tokens(self, text: str) -> list[int]:
        if text not in self._encoded:
            self._encoded[text] = self.tokenizer.encode(text, add_special_tokens=False)
        return self._encoded[text]

    def batch(self, asks: list[Ask], rng: np.random.Generator | None) -> Batch:
        """Lays samples out for the model; rng adds photographic noise."""
        rows, columns = self.grid
        pad = self.tokenizer.pad_token_id
        image_id = self.model.config.image_token_id
        sequences, images, views, labels = [], [], [], []
        for number, ask in enumerate(asks):
            ids: list[int] = []
            exchanges, _ = worded(ask.turns, "", NOW, ask.provenance)
            for exchange in exchanges:
                ids += self.tokens(f"<|im_start|>user\n{exchange.asked}<|im_end|>\n")
                ids += self.tokens(f"<|im_start|>assistant\n{exchange.said}<|im_end|>\n")
            ids += self.tokens("<|im_start|>user\n")
            boxes = [ask.shot.window] + ([ask.crop] if ask.crop else [])
            for view, box in enumerate(boxes):
                ids += self.tokens("<|vision_start|>") + [image_id] * (rows * columns) + self.tokens("<|vision_end|>")
                see = models.svlm_image if self.kind == "svlm" else models.lvlm_image
                images.append(see(ask.shot.frame, box))
                views.append((number, view))
                labels.append(cells(ask.shot, box, self.grid))
            segments, targets = [0] * len(ids), [-100] * len(ids)
            for n, question in enumerate(ask.questions, start=1):
                _, text = worded(ask.turns, question, NOW, ask.provenance)
                asked = self.tokens(f"{text}<|im_end|>\n<|im_start|>assistant\n")
                said_now = self.tokens(f"{self.truth(question, ask.shot)}<|im_end|>")
                targets += [-100] * (len(asked) - 1) + said_now + [-100]
                ids += asked + said_now
                segments += [n] * (len(asked) + len(said_now))
            sequences.append((ids, segments, targets))
        length = max(len(ids) for ids, _, _ in sequences)
        ids_array = np.full((len(asks), length), pad)
        segment = np.full((len(asks), length), -1)
        target = np.full((len(asks), length), -100)
        for row, (ids, segments, targets) in enumerate(sequences):
            ids_array[row, : len(ids)], segment[row, : len(ids)], target[row, : len(ids)] = ids, segments, targets
        causal = np.tril(np.ones((length, length), bool))
        same = (segment[:, None, :] == 0) | (segment[:, None, :] == segment[:, :, None])
        positions = np.stack(
            [packed_positions(i, s, image_id, self.grid, self.kind) for i, s in zip(ids_array, segment, strict=True)]
        )
        pixels = np.stack(images).astype(np.float32)
        if rng is not None:
            pixels = photographed(pixels, rng)
        tensor = models.patchify(pixels) if self.kind == "svlm" else models.siglip_pixels(pixels)
        return Batch(
            images=tensor,
            views=views,
            ids=torch.from_numpy(ids_array),
            positions=torch.from_numpy(positions).transpose(0, 1).contiguous(),
            allowed=torch.from_numpy(causal[None] & same)[:, None],
            targets=torch.from_numpy(target),
            segment=torch.from_numpy(segment),
            cells=torch.from_numpy(np.stack(labels)),
            asks=asks,
        )

    def truth(self, question: str, shot: Shot) -> str:
        return q.answer(question, shot.seen) if self.kind == "svlm" else models.lvlm_reply(question, shot.seen)

    def forward(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (answers' tokens only, in reading order) and visual tokens (images, tokens, D)."""
        see = models.svlm_see if self.kind == "svlm" else models.lvlm_see
        seen = see(self.model, batch.images)
        language = self.model.model.language_model
        embedded = language.embed_tokens(batch.ids)
        place = (batch.ids == self.model.config.image_token_id)[..., None]
        embedded = embedded.masked_scatter(place, seen.reshape(-1, seen.shape[-1]).to(embedded.dtype))
        positions = batch.positions if self.kind == "svlm" else batch.positions[0]
        hidden = language(
            inputs_embeds=embedded,
            position_ids=positions,
            attention_mask={"full_attention": batch.allowed},
            use_cache=False,
        ).last_hidden_state
        return self.model.lm_head(hidden[batch.targets >= 0]), seen

    def losses(self, batch: Batch, box_weight: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
        """Answer loss per answer, and the auxiliary loss of the visual tokens.

        box_weight: of the box edges' tokens, which else outweigh the answer's as long as nothing is known.
        """
        logits, seen = self(batch)
        wanted = batch.targets[batch.targets >= 0]
        answers = sum(len(ask.questions) for ask in batch.asks)
        weight = torch.where(torch.isin(wanted, self._numbers), box_weight, 1.0)
        said = (functional.cross_entropy(logits.float(), wanted, reduction="none") * weight).sum() / max(1, answers)
        return said, self.token_loss(seen, batch.cells)

    def token_loss(self, seen: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        """What each visual token should know: what its cell shows, which sign, which row and column."""
        guess = self.auxiliary(seen).float()
        what, row, column = guess.split([len(CELL_LABELS), *self.grid], dim=-1)
        auxiliary = functional.binary_cross_entropy_with_logits(what, truth, weight=1 + 4 * truth) * 6
        auxiliary = auxiliary + sum(sign_loss(what, truth, group) for group in SIGNS)
        rows = torch.arange(self.grid[0]).repeat_interleave(self.grid[1]).repeat(len(seen))
        columns = torch.arange(self.grid[1]).repeat(self.grid[0] * len(seen))
        auxiliary = auxiliary + 0.3 * functional.cross_entropy(row.flatten(0, 1), rows)
        return auxiliary + 0.3 * functional.cross_entropy(column.flatten(0, 1), columns)

    def mosaic_loss(self, split: Split, signs: list[Sign], rng: np.random.Generator) -> torch.Tensor:
        """The token loss of a batch of mosaics."""
        size = (models.SVLM_WIDTH, models.SVLM_HEIGHT) if self.kind == "svlm" else (models.LVLM_SIZE, models.LVLM_SIZE)
        count, pasted = (2 * BATCH, 8) if self.kind == "svlm" else (BATCH, 14)
        pairs = [mosaic(split, signs, rng, size=size, grid=self.grid, pasted=pasted) for _ in range(count)]
        pixels = photographed(np.stack([picture for picture, _ in pairs]).astype(np.float32), rng)
        truth = torch.from_numpy(np.stack([truth for _, truth in pairs]))
        if self.kind == "svlm":
            return self.token_loss(models.svlm_see(self.model, models.patchify(pixels)), truth)
        return self.token_loss(models.lvlm_see(self.model, models.siglip_pixels(pixels)), truth)

    @torch.no_grad()
    def right(self, asks: list[Ask]) -> list[tuple[str, bool]]:
        """For each question of each sample whether greedy decoding would say the right answer.

        Greedy decoding says exactly the answer if and only if, fed the answer, each next token is the likeliest.
        """
        result = []
        for start in range(0, len(asks), BATCH):
            batch = self.batch(asks[start : start + BATCH], None)
            logits, _ = self(batch)
            wanted = batch.targets[batch.targets >= 0]
            hit = (logits.argmax(-1) == wanted).tolist()
            at = 0
            for ask in batch.asks:
                for question in ask.questions:
                    said = self.tokens(f"{self.truth(question, ask.shot)}<|im_end|>")
                    upto = len(said) if self.kind == "svlm" else self._answer_length(question, ask.shot)
                    result.append((question, all(hit[at : at + upto])))
                    at += len(said)
        return result

    def _answer_length(self, question: str, shot: Shot) -> int:
        return 1 + len(self.tokens(q.answer(question, shot.seen))) + 1


def sign_loss(what: torch.Tensor, truth: torch.Tensor, group: tuple[str, ...]) -> torch.Tensor:
    """Which sign it is, asked of the cells that hold one: in the mean over all cells it would be lost."""
    first = CELL_LABELS.index(group[0])
    choices, wanted = what[..., first : first + len(group)], truth[..., first : first + len(group)]
    holds = wanted.any(dim=-1)
    if not holds.any():
        return what.new_zeros(())
    return functional.cross_entropy(choices[holds], wanted[holds].argmax(dim=-1))


def packed_positions(
    ids: np.ndarray, segment: np.ndarray, image_id: int, grid: tuple[int, int], kind: str
) -> np.ndarray:
    """(3, L) positions: each question continues where the shared part ends.

    For the SVLM as Qwen2.5-VL counts (an image is a block of rows and columns, and the text goes on after its longer
    side; a test compares with the model's own); for the LVLM one by one.
    """
    rows, columns = grid
    out = np.zeros((3, len(ids)), np.int64)
    now = at = 0
    shared = int((segment == 0).sum())
    while at < shared:
        if kind == "svlm" and ids[at] == image_id:
            count = rows * columns
            out[0, at : at + count] = now
            out[1, at : at + count] = now + np.repeat(np.arange(rows), columns)
            out[2, at : at + count] = now + np.tile(np.arange(columns), rows)
            now, at = now + max(rows, columns), at + count
        else:
            out[:, at] = now
            now, at = now + 1, at + 1
    for n in range(1, int(segment.max()) + 1):
        places = np.flatnonzero(segment == n)
        out[:, places] = now + np.arange(len(places))
    return out


def photographed(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Exposure, colour cast, motion blur and sensor noise of a real camera. images: (B, H, W, 3) 0..255 float32."""
    batch, _, width, _ = images.shape
    images = images.copy()
    for image in (images[k] for k in np.flatnonzero(rng.random(batch) < BLURRED)):
        image[:] = smeared(image, int(rng.integers(2, 2 + width // 40)), int(rng.integers(2)))
    gain = rng.uniform(0.75, 1.3, (batch, 1, 1, 1)) * rng.uniform(0.93, 1.07, (batch, 1, 1, 3))
    noise = rng.standard_normal(images.shape, dtype=np.float32) * rng.uniform(0, 5, (batch, 1, 1, 1))
    return np.clip(images * gain.astype(np.float32) + noise + rng.uniform(-12, 12, (batch, 1, 1, 1)), 0, 255).astype(
        np.float32
    )


def smeared(image: np.ndarray, pixels: int, axis: int) -> np.ndarray:
    """The mean over a motion of so many pixels down (axis 0) or to the right (1)."""
    return np.mean([np.roll(image, step, axis) for step in range(pixels)], axis=0)


def asks_for_training(
    split: Split, kind: str, rng: np.random.Generator, progress: float, order: Iterator[int], pairs: Iterator[int]
) -> list[Ask]:
    """One batch of samples for this point of the curriculum.

    order: of all frames. pairs: of those with two machines: only there it takes the letter to say which one is meant,
    and without more of them neither model learned to within hours.
    """
    told, crop = (TOLD, 0.4) if kind == "svlm" else (0.0, 0.0)
    doubt = DOUBT if progress < TRUSTFUL else 1.0
    asks: list[Ask] = []
    while len(asks) < BATCH:
        shot = take_shot(split, next(pairs if rng.random() < PAIRS else order), rng)
        ask = make_ask(shot, rng, told=told, doubt=doubt, crop=crop, count=4)
        if ask.questions:
            asks.append(ask)
    return asks


def modes(kind: str) -> tuple[str, ...]:
    return tuple(MODES) if kind == "svlm" else ("plain",)


def asks_for_testing(split: Split, mode: str, size: int) -> list[Ask]:
    """All that can be asked about whole frames; with histories or crops the tasks' questions, one a sample.

    Modes that differ in their wording only get the same conversations.
    """
    rng = np.random.default_rng(7)
    how = MODES[mode]
    asks = []
    for index in range(min(size, len(split))):
        shot = take_shot(split, index, None)
        possible = [question for question in q.ALL if q.askable(question, shot.seen)]
        if how == Mode():
            asks.append(Ask(shot, possible))
            continue
        panels = sorted((p for p in possible if p in q.PANEL), key=lambda p: q.subject_of(p, shot.seen) is None)
        for question in [p for p in possible if p in (*q.DEMO, *q.TASKS[:3])] + panels[: 1 + index % 2]:
            turns, box = [], None
            if how.history is not None:
                age = rng.uniform(*how.ages)
                turns.append(turn(question, invented(question, shot.seen, how.history, age, rng), age))
            region = q.region_of(question, shot.seen)
            if how.crop and region is not None:
                box = crop_around(region[1], shot.window, None)
            asks.append(Ask(shot, [question], tuple(turns), box, how.provenance))
    return [ask for ask in asks if ask.questions]


def scores(trainee: Trainee, split: Split, mode: str, size: int) -> dict[str, float]:
    """Exact match, teacher-forced (see Trainee.right), by question and over each dataset's."""
    hits: dict[str, list[bool]] = {}
    for question, hit in trainee.right(asks_for_testing(split, mode, size)):
        for group in (question, *(["panel"] if question in q.PANEL else [])):
            hits.setdefault(group, []).append(hit)
    means = {question: sum(values) / len(values) for question, values in hits.items()}
    return means | {"tasks": float(np.mean([means[name] for name in (*q.TASKS[:3], "panel")]))}


def shuffled(indices: np.ndarray, rng: np.random.Generator) -> Iterator[int]:
    while True:
        yield from rng.permutation(indices).tolist()


def train(
    kind: str,
    folder: Path,
    out: Path,
    *,
    minutes: float,
    seed: int = 0,
    threads: int = 1,
    weights: Path | None = None,
) -> None:
    """Trains one model for so many minutes (of training: a resumed run goes on where it was) and saves it to `out`.

    folder: the rendered splits. Checkpoints and log.jsonl go to folder/<kind>. weights: a saved model to begin with.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    split, val = load_split(folder, "train"), load_split(folder, "val")
    signs = find_signs(split)
    home = folder / kind
    home.mkdir(parents=True, exist_ok=True)
    trainee = Trainee(kind)
    decay = [p for p in trainee.parameters() if p.ndim >= 2]
    plain = [p for p in trainee.parameters() if p.ndim < 2]
    optimiser = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.03}, {"params": plain, "weight_decay": 0.0}],
        lr=LEARNING_RATE[kind],
        betas=(0.9, 0.98),
    )
    step, spent = 0, 0.0
    checkpoint = home / "checkpoint.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        trainee.load_state_dict(state["trainee"])
        optimiser.load_state_dict(state["optimiser"])
        step, spent = state["step"], state["spent"]
    elif weights is not None:
        begin_with(trainee, weights)
    rng = np.random.default_rng((seed, step))
    order = shuffled(np.arange(len(split)), rng)
    pairs = shuffled(np.flatnonzero(["second" in seen.boxes for seen in split.seen]), rng)
    budget = minutes * 60
    bar = tqdm(total=round(budget), initial=round(min(spent, budget)), unit="s", desc=f"training {kind}")
    sums, count, last_save, began = np.zeros(2), 0, spent, time.monotonic() - spent
    while spent < budget:
        progress = spent / budget
        rate = LEARNING_RATE[kind] * min(1.0, (step + 1) / WARM_UP) * (0.02 + 0.98 * cooling(progress))
        for group in optimiser.param_groups:
            group["lr"] = rate
        trainee.train()
        with torch.autocast("cpu", torch.bfloat16):  # a fifth faster
            if rng.random() < mosaics(kind, progress):
                said, auxiliary = torch.zeros(()), trainee.mosaic_loss(split, signs, rng)
            else:
                batch = trainee.batch(asks_for_training(split, kind, rng, progress, order, pairs), rng)
                said, auxiliary = trainee.losses(batch, 0.2 if progress < BOXES_LATER else 0.6)
        optimiser.zero_grad(set_to_none=True)
        (said + auxiliary).backward()
        nn.utils.clip_grad_norm_(trainee.parameters(), 1.0)
        optimiser.step()
        step += 1
        count += 1
        sums += (said.item(), auxiliary.item())
        spent = time.monotonic() - began
        bar.update(max(0, min(round(spent), round(budget)) - bar.n))
        bar.set_postfix(step=step, said=f"{said.item():.3f}", aux=f"{auxiliary.item():.3f}", refresh=False)
        if spent - last_save > CHECKPOINT_SECONDS or spent >= budget:
            last_save = spent
            trainee.eval()
            watched = [mode for mode in modes(kind) if mode in WATCHED]
            mean = {mode: rounded(scores(trainee, val, mode, 150)) for mode in watched}
            row = {"step": step, "spent": round(spent), "said": sums[0] / count, "aux": sums[1] / count, "val": mean}
            sums, count = np.zeros(2), 0
            with (home / "log.jsonl").open("a") as file:
                file.write(json.dumps(row) + "\n")
            temporary = home / "checkpoint.tmp"
            torch.save(
                {
                    "trainee": trainee.state_dict(),
                    "optimiser": optimiser.state_dict(),
                    "step": step,
                    "spent": spent,
                },
                temporary,
            )
            temporary.replace(checkpoint)
            save(trainee, out)
    bar.close()


def begin_with(trainee: Trainee, folder: Path) -> int:
    """Takes over what fits of a saved model of the same family, tokens by their text. Returns how many tensors did."""
    old = type(trainee.model).from_pretrained(folder, dtype=torch.float32).state_dict()
    before = PreTrainedTokenizerFast.from_pretrained(folder).get_vocab()
    now = trainee.tokenizer.get_vocab()
    pairs = [(now[text], before[text]) for text in now if text in before]
    wanted = dict(trainee.model.state_dict())
    taken = 0
    for name, value in wanted.items():
        found = old.get(name)
        if found is None:
            continue
        if name.endswith(("embed_tokens.weight", "lm_head.weight")):
            rows, sources = (torch.tensor(side) for side in zip(*pairs, strict=True))
            wanted[name] = value.clone()
            wanted[name][rows] = found[sources].to(value.dtype)
        elif found.shape == value.shape:
            wanted[name] = found.to(value.dtype)
        else:
            continue
        taken += 1
    trainee.model.load_state_dict(wanted)
    return taken


def mosaics(kind: str, progress: float) -> float:
    """Share of the steps that are mosaics. The small model ends without: it is to need what it was told."""
    if kind == "svlm":
        return 0.35 if progress < 0.5 else 0.0
    return 0.45 if progress < 0.5 else 0.25 if progress < 0.8 else 0.1


def cooling(progress: float) -> float:
    """Full rate for a third of the training, then a cosine down to nothing."""
    late = min(1.0, max(0.0, (progress - 0.3) / 0.7))
    return 0.5 * (1 + math.cos(math.pi * late))


def save(trainee: Trainee, out: Path) -> None:
    write = models.save_svlm if trainee.kind == "svlm" else models.save_lvlm
    write(trainee.model, trainee.tokenizer, out)


def rounded(values: dict[str, float]) -> dict[str, float]:
    return {key: round(value, 3) for key, value in values.items()}
