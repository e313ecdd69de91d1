# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevlm_ros.cli import main
from edgevlm_ros.world import questions as q
from edgevlm_ros.world.render import (
    CLASSES,
    GL_BACKENDS,
    Renderer,
    RenderingUnavailable,
    arm_direction,
    require_rendering,
)
from edgevlm_ros.world.scene import GESTURES, ROLES, Camera, Cart, Machine, Person, Scene, random_scene

HEIGHT, WIDTH = 240, 320


def of(classes: np.ndarray, *parts: str) -> np.ndarray:
    """(H, W) bool: pixels of these classes."""
    return np.isin(classes, [CLASSES.index(part) for part in parts])


def greeter(gesture: str, yaw: float = math.pi, role: str = "guest") -> Scene:
    """Somebody three metres ahead."""
    return Scene(Camera(2, 0, pitch=0.0), person=Person(5.0, 0.0, yaw=yaw, role=role, gesture=gesture))


def test_a_scene_looks_the_same_whatever_was_drawn_before(renderer: Renderer) -> None:
    first = renderer.render(random_scene(1))
    renderer.render(random_scene(2))
    again = renderer.render(random_scene(1))
    assert np.array_equal(first.rgb, again.rgb)
    assert np.array_equal(first.classes, again.classes)


def test_the_picture_shows_what_the_scene_says(renderer: Renderer) -> None:
    scene = Scene(
        Camera(2, 0, pitch=0.05),
        person=Person(5.0, 1.7, yaw=np.pi, role="medic"),
        cart=Cart(5.5, 0, yaw=np.pi, load="fuel"),
        machine=Machine(5.0, -1.7, yaw=np.pi, name="D", state="idle"),
    )
    view = renderer.render(scene)
    assert view.rgb.shape == (HEIGHT, WIDTH, 3)
    assert view.rgb.dtype == np.uint8
    seen = q.observe(scene, view.classes)
    assert q.answer(q.CROSSING, seen) == "medic, left"
    assert q.answer(q.CART, seen) == "fuel, ahead"
    assert q.answer(q.MACHINE, seen) == "D, idle"
    assert seen.boxes["machine"][0] > 0.6


def test_two_machines_side_by_side_keep_their_letters_and_lamps(renderer: Renderer) -> None:
    scene = Scene(
        Camera(2, 0),
        machine=Machine(5.0, 0.7, yaw=np.pi, name="B", state="running"),
        second=Machine(5.0, -0.7, yaw=np.pi, name="C", state="fault"),
    )
    view = renderer.render(scene)
    seen = q.observe(scene, view.classes)
    assert q.answer(q.panel("B"), seen) == "running"
    assert q.answer(q.panel("C"), seen) == "fault"
    assert seen.boxes["machine"][2] <= seen.boxes["second"][0] + 0.01
    green, red = (
        view.rgb[of(view.classes, "light")].mean(axis=0),
        view.rgb[of(view.classes, "secondlight")].mean(axis=0),
    )
    assert green[1] > 1.5 * green[0]
    assert red[0] > 1.5 * red[1]


@pytest.mark.parametrize("gesture", GESTURES)
def test_arms_point_in_the_image_to_where_the_sign_says(renderer: Renderer, gesture: str) -> None:
    """Seen from the front: how far the person reaches beyond the badge to either side, and above the head."""
    classes = renderer.render(greeter(gesture)).classes
    left, top, right, _ = q.mask_box(of(classes, "person"))
    badge_left, badge_top, badge_right, _ = q.mask_box(of(classes, "badge"))
    wide = badge_right - badge_left
    assert (badge_left - left > wide) == (gesture in ("stop", "go left"))
    assert (right - badge_right > wide) == (gesture in ("stop", "go right"))
    assert (badge_top - top > 0.17) == (gesture == "come")


@given(st.sampled_from(GESTURES), st.sampled_from(("left", "right")), st.floats(0, 300))
def test_an_arm_has_a_direction_at_any_time(gesture: str, side: str, phase: float) -> None:
    along = arm_direction(gesture, side, phase)
    assert math.isclose(float(np.linalg.norm(along)), 1.0)
    assert along[1] * (1 if side == "left" else -1) > 0  # never through the body
    assert along[2] > -1.0


def test_legs_and_hanging_arms_swing_with_the_gait(renderer: Renderer) -> None:
    def wide(phase: float) -> float:
        scene = Scene(Camera(2, 0), person=Person(5.0, 0.0, yaw=np.pi / 2, phase=phase))
        rows = of(renderer.render(scene).classes, "person")[HEIGHT // 2 :]
        return float(np.ptp(np.flatnonzero(rows.any(axis=0))))

    assert wide(math.pi / 2) > 1.3 * wide(0.0)


@pytest.mark.parametrize("yaw", [0.0, math.pi])
def test_a_badge_is_on_chest_and_back_and_each_role_has_another(renderer: Renderer, yaw: float) -> None:
    views = [renderer.render(greeter("no sign", yaw, role)) for role in ROLES]
    badge = of(views[0].classes, "badge")
    x0, y0, x1, y1 = q.mask_box(badge)
    assert 24 <= (y1 - y0) * HEIGHT <= 48
    assert 24 <= (x1 - x0) * WIDTH <= 48
    for i, one in enumerate(views):
        for other in views[:i]:
            assert np.abs(one.rgb[badge].astype(int) - other.rgb[badge]).mean() > 40


def test_signs_are_of_a_height_that_only_the_large_model_reads(renderer: Renderer) -> None:
    heights = []
    for seed in range(90):
        classes = renderer.render(random_scene(seed)).classes
        for part in ("placard", "plate", "secondplate", "badge"):
            sign = of(classes, part)
            if sign.sum() >= 40:
                _, y0, _, y1 = q.mask_box(sign)
                heights.append((y1 - y0) * HEIGHT)
    measured = np.array(heights)
    assert np.mean((measured >= 22) & (measured <= 60)) > 0.82
    assert np.mean((measured >= 24) & (measured <= 48)) > 0.65


def test_things_stand_left_ahead_and_right_about_equally_often(renderer: Renderer) -> None:
    sides = {"person": [0, 0, 0], "cart": [0, 0, 0]}
    for seed in range(100, 220):
        scene = random_scene(seed)
        seen = q.observe(scene, renderer.render(scene).classes)
        for subject, counts in sides.items():
            if subject in seen.boxes:
                counts[q.SIDES.index(q.side(seen.boxes[subject]))] += 1
    for counts in sides.values():
        assert min(counts) > 0.2 * sum(counts)


def test_an_absent_thing_leaves_no_pixel(renderer: Renderer) -> None:
    view = renderer.render(Scene(Camera(2, 0)))
    assert not view.classes.any()


def test_a_drive_becomes_a_bag_with_its_truth(renderer: Renderer, tmp_path: Path) -> None:
    from edgevlm_ros.bags import BagReader
    from edgevlm_ros.world.stream import film

    film(tmp_path / "bag", seed=4, seconds=0.6, supersample=1)
    with BagReader(tmp_path / "bag") as bag:
        counts = {topic.name: topic.count for topic in bag.topics.values()}
        assert counts == {"/image/compressed": 3, "/ground_truth": 3, "/camera_info": 1, "/question": 1}
        assert bag.topics["/question"].latched
        truths = [bag.deserialize(record) for record in bag.records(topics=["/ground_truth"])]
    assert all(truth.answer == q.ABSENT[q.CART] or truth.answer.endswith(q.SIDES) for truth in truths)


@pytest.fixture
def _no_opengl(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose EGL has no driver and which has no OSMesa."""
    monkeypatch.setenv("__EGL_VENDOR_LIBRARY_FILENAMES", "/dev/null")
    monkeypatch.setattr("edgevlm_ros.world.render.GL_BACKENDS", ("egl",))
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    require_rendering.cache_clear()
    yield
    require_rendering.cache_clear()


@pytest.mark.usefixtures("_no_opengl")
def test_without_opengl_it_says_what_to_install_before_it_writes_anything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["bag"], ["streams"], ["render"]):
        assert main(["world", *words, "--out", str(tmp_path / "out")]) == 2
        assert "libegl1 libopengl0 libgl1-mesa-dri" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("rendering")
def test_a_backend_that_works_is_chosen_and_told_to_child_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    require_rendering.cache_clear()
    require_rendering()
    assert os.environ["MUJOCO_GL"] in GL_BACKENDS


def test_a_backend_that_the_user_has_chosen_is_the_only_one_that_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "nonsense")
    require_rendering.cache_clear()
    with pytest.raises(RenderingUnavailable, match="unset MUJOCO_GL=nonsense"):
        require_rendering()
    require_rendering.cache_clear()
