# SPDX-License-Identifier: Apache-2.0
"""Frames of the hall, with the truth about each pixel, from one MuJoCo model that is reused for every scene.

Compiling a model and uploading its textures takes far longer than drawing it: so everything that can stand in the hall
is in the model, and a scene only moves, recolours or hides it.
"""

from __future__ import annotations

import importlib.util
import math
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from edgevlm_ros.world import textures
from edgevlm_ros.world.scene import (
    BAY,
    BAYS,
    FIRST_BAY,
    HALL_HALF_WIDTH,
    HALL_LENGTH,
    HORIZONTAL_FOV,
    LOADS,
    NAMES,
    ROLES,
    STATE_COLOURS,
    Machine,
    Person,
    Scene,
    gate_x,
)

# Classes of the segmentation, in the order of their codes.
CLASSES = (
    "background",
    "person",
    "cart",
    "placard",
    "machine",
    "plate",
    "light",
    "badge",
    "second",
    "secondplate",
    "secondlight",
)
VERTICAL_FOV = 2 * math.atan(math.tan(HORIZONTAL_FOV / 2) * 0.75)

# Of a person, metres: where the arms begin and how long they are up to the gloves.
SHOULDER_Y, SHOULDER_Z, ARM = 0.26, 1.38, 0.52
AWAY = (-60.0, 0.0, -20.0)


@dataclass(frozen=True, slots=True)
class View:
    """One rendered frame.

    rgb: (H, W, 3) uint8. classes: (H, W) uint8, indices into CLASSES.
    """

    rgb: np.ndarray
    classes: np.ndarray


class RenderingUnavailable(RuntimeError):
    """MuJoCo or the OpenGL library that it draws with is missing; the message says what to install."""


# Both draw without a screen or a GPU. Mesa has no OSMesa from 25.1 on.
GL_BACKENDS = ("egl", "osmesa")
_GL_PROBE = "import mujoco; mujoco.GLContext(16, 16).make_current()"
_GL_HINT = "`sudo apt install libegl1 libopengl0 libgl1-mesa-dri` (EGL; it needs no GPU)"


@lru_cache(maxsize=1)
def require_rendering() -> None:
    """Sets MUJOCO_GL to the first backend that works here, unless it is set, for this process and its children.

    Each backend is tried in a child process, since PyOpenGL keeps the first library that it loads. Raises
    RenderingUnavailable if none works.
    """
    if importlib.util.find_spec("mujoco") is None:
        raise RenderingUnavailable(
            "rendering needs MuJoCo: `make setup-world`, or pip install -r requirements/world.txt"
        )
    chosen = os.environ.get("MUJOCO_GL")
    faults = []
    for backend in (chosen,) if chosen else GL_BACKENDS:
        tried = subprocess.run(
            [sys.executable, "-c", _GL_PROBE],
            env={**os.environ, "MUJOCO_GL": backend},
            capture_output=True,
            text=True,
            check=False,
        )
        if tried.returncode == 0:
            os.environ["MUJOCO_GL"] = backend
            return
        faults.append(f"{backend}: {(tried.stderr.strip().splitlines() or [str(tried.returncode)])[-1]}")
    unset = f", or unset MUJOCO_GL={chosen}" if chosen else ""
    raise RenderingUnavailable(f"rendering needs OpenGL: {_GL_HINT}{unset}. Tried: {'; '.join(faults)}")


class Renderer:
    """Draws scenes at one size. Use as a context manager: OpenGL contexts want to be closed.

    supersample: rendered this many times larger and averaged down. shadows: about half the speed in software.
    """

    def __init__(self, width: int = 320, height: int = 240, *, shadows: bool = False, supersample: int = 1) -> None:
        require_rendering()
        import mujoco  # after MUJOCO_GL is set

        self._mujoco = mujoco
        self._supersample = supersample
        self.width, self.height = width, height
        big_width, big_height = width * supersample, height * supersample
        images = {f"pictogram_{load}.png": textures.png(textures.pictogram(load)) for load in LOADS}
        images |= {f"letter_{name}.png": textures.png(textures.letter(name)) for name in NAMES}
        images |= {f"role_{role}.png": textures.png(textures.role_badge(role)) for role in ROLES}
        images |= {f"floor_{i}.png": textures.png(textures.floor(i)) for i in range(textures.FLOORS)}
        images |= {f"wall_{i}.png": textures.png(textures.wall(i)) for i in range(textures.WALLS)}
        images["cardboard.png"] = textures.png(textures.cardboard())
        self.model = mujoco.MjModel.from_xml_string(
            _mjcf(images, big_width, big_height, shadow_size=4096 if shadows else 512), assets=images
        )
        self.model.geom_sameframe[:] = 0  # limbs are turned while running: no shortcut past their own rotation
        self.data = mujoco.MjData(self.model)
        self._renderer = mujoco.Renderer(self.model, big_height, big_width)
        self._shadows = shadows
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FREE
        self._geom: dict[str, int] = {}
        self._classes = np.zeros(self.model.ngeom + 1, np.uint8)  # last: no geom
        for i in range(self.model.ngeom):
            name = self.model.geom(i).name
            self._geom[name] = i
            kind = name.split("_")[0]
            if kind in CLASSES:
                self._classes[i] = CLASSES.index(kind)
        self._material = {self.model.mat(i).name: i for i in range(self.model.nmat)}
        self._decor = [i for name, i in self._geom.items() if name.startswith("rack_")]

    def __enter__(self) -> Renderer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._renderer.close()

    def render(self, scene: Scene) -> View:
        """Draws the scene, then what each pixel belongs to (the truth is not antialiased)."""
        self._arrange(scene)
        self._renderer.disable_segmentation_rendering()
        self._renderer.update_scene(self.data, self._camera)
        flags = self._renderer.scene.flags
        flags[self._mujoco.mjtRndFlag.mjRND_SHADOW] = self._shadows
        flags[self._mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
        flags[self._mujoco.mjtRndFlag.mjRND_SKYBOX] = 0
        rgb = self._renderer.render()
        self._renderer.enable_segmentation_rendering()
        self._renderer.update_scene(self.data, self._camera)
        segments = self._renderer.render()[:, :, 0]
        n = self._supersample
        if n > 1:
            shape = (self.height, n, self.width, n, 3)
            rgb = rgb.reshape(shape).astype(np.float32).mean(axis=(1, 3)).round().astype(np.uint8)
            segments = segments[n // 2 :: n, n // 2 :: n]
        return View(rgb.copy(), self._classes[segments])

    def _arrange(self, scene: Scene) -> None:
        self._place_camera(scene)
        self._dress_hall(scene)
        for body, thing in (
            ("person", scene.person),
            ("cart", scene.cart),
            ("machine", scene.machine),
            ("second", scene.second),
        ):
            self._place(body, thing)
        if scene.person:
            self._dress_person(scene.person)
        if scene.cart:
            self._colour("cart_base", scene.cart.body)
            self._colour("cart_handle", scene.cart.body)
            self._colour("cart_cabin", scene.cart.body, 1.0 if scene.cart.cabin else 0.0)
            self._colour("cart_window", (0.15, 0.2, 0.25), 1.0 if scene.cart.cabin else 0.0)
            self._colour("cart_crate", scene.cart.crate)
            for i in range(4):
                self._cover(f"placard_{i}", f"pictogram_{scene.cart.load}")
                self._colour(f"placard_{i}", scene.cart.placard)
        if scene.machine:
            self._dress_machine(scene.machine, "machine", "")
        if scene.second:
            self._dress_machine(scene.second, "second", "second")
        self._mujoco.mj_kinematics(self.model, self.data)
        self._mujoco.mj_comPos(self.model, self.data)
        self._mujoco.mj_camlight(self.model, self.data)

    def _dress_person(self, person: Person) -> None:
        self._colour("person_torso", person.vest)
        swing = 0.35 * math.sin(person.phase)
        for i in range(2):
            self._cover(f"badge_{i}", f"role_{person.role}")
            self._colour(f"badge_{i}", person.badge)
        for side, sign in (("left", 1), ("right", -1)):
            self._colour(f"person_leg_{side}", person.trousers)
            self._colour(f"person_arm_{side}", tuple(0.8 * c for c in person.vest))
            self._colour(f"person_glove_{side}", person.gloves)
            self._pitch(f"person_leg_{side}", sign * swing)
            shoulder = np.array([0.0, sign * SHOULDER_Y, SHOULDER_Z])
            along = arm_direction(person.gesture, side, person.phase)
            self.model.geom_pos[self._geom[f"person_arm_{side}"]] = shoulder + 0.5 * ARM * along
            self.model.geom_quat[self._geom[f"person_arm_{side}"]] = _turned_to(along)
            self.model.geom_pos[self._geom[f"person_glove_{side}"]] = shoulder + (ARM + 0.05) * along

    def _dress_machine(self, machine: Machine, body: str, prefix: str) -> None:
        self._colour(f"{body}_body", machine.body)
        self._cover(f"{prefix}plate_0", f"letter_{machine.name}")
        self._colour(f"{prefix}light_lamp", STATE_COLOURS[machine.state])

    def _place_camera(self, scene: Scene) -> None:
        camera = scene.camera
        ahead = (
            math.cos(camera.yaw) * math.cos(camera.pitch),
            math.sin(camera.yaw) * math.cos(camera.pitch),
            -math.sin(camera.pitch),
        )
        self._camera.lookat[:] = [camera.x + ahead[0], camera.y + ahead[1], camera.z + ahead[2]]
        self._camera.distance = 1.0
        self._camera.azimuth = math.degrees(camera.yaw)
        self._camera.elevation = -math.degrees(camera.pitch)

    def _dress_hall(self, scene: Scene) -> None:
        hall, model = scene.hall, self.model
        self._cover("floor", f"floor_{hall.floor}")
        self._colour("floor", hall.floor_tint)
        for side in ("left", "right", "end", "back"):
            self._cover(f"wall_{side}", f"wall_{hall.wall}")
            self._colour(f"wall_{side}", hall.wall_tint)
        warm = np.array([1.0 + 0.08 * hall.warmth, 1.0, 1.0 - 0.12 * hall.warmth])
        model.vis.headlight.ambient[:] = hall.ambient * warm
        model.vis.headlight.diffuse[:] = 0.25 * warm
        model.light_diffuse[:] = hall.sun * warm
        model.light_dir[0] = np.asarray(hall.sun_direction) / np.linalg.norm(hall.sun_direction)
        rng = np.random.default_rng(hall.decor)
        for i in self._decor:
            name = model.geom(i).name
            if "box" in name:
                paper = np.array([0.75, 0.6, 0.42]) * rng.uniform(0.7, 1.3)
                colour = np.where(rng.random() < 0.6, paper, rng.uniform(0.15, 0.75, 3))
                model.geom_rgba[i] = [*np.clip(colour, 0, 1), 0.0 if rng.random() < 0.25 else 1.0]
            else:
                model.geom_rgba[i] = [*hall.rack, 1.0]
            if int(name.split("_")[2]) in hall.gates:
                model.geom_rgba[i, 3] = 0.0
        for bay in range(BAYS):
            for side in ("left", "right"):
                model.geom_rgba[self._geom[f"gate_{side}_{bay}"], 3] = 1.0 if bay in hall.gates else 0.0

    def _place(self, body: str, thing: Any) -> None:
        index = self.model.body(body).mocapid[0]
        if thing is None:
            self.data.mocap_pos[index] = AWAY
        else:
            self.data.mocap_pos[index] = [thing.x, thing.y, 0.0]
            self.data.mocap_quat[index] = [math.cos(thing.yaw / 2), 0, 0, math.sin(thing.yaw / 2)]

    def _colour(self, geom: str, rgb: Any, alpha: float = 1.0) -> None:
        self.model.geom_rgba[self._geom[geom]] = [*rgb, alpha]

    def _cover(self, geom: str, material: str) -> None:
        self.model.geom_matid[self._geom[geom]] = self._material[material]

    def _pitch(self, geom: str, angle: float) -> None:
        self.model.geom_quat[self._geom[geom]] = [math.cos(angle / 2), 0, math.sin(angle / 2), 0]


def arm_direction(gesture: str, side: str, phase: float) -> np.ndarray:
    """(3,) where the arm points, in the person's frame: x ahead, y to the person's own left, z up.

    side: the person's own, so the "right" arm is on the image's left when the person faces the camera. phase: of the
    gait, radians; hanging arms swing with it, raised ones waver.
    """
    sign = 1 if side == "left" else -1
    waver = 0.1 * math.sin(phase + (1.3 if side == "left" else 0.0))
    stretched = {"stop": ("left", "right"), "go left": ("right",), "go right": ("left",)}
    if gesture == "come":
        angle = math.radians(68.0) + waver  # above the horizontal
    elif side in stretched.get(gesture, ()):
        angle = waver
    else:
        swing = sign * 0.35 * math.sin(phase) if gesture == "no sign" else 0.0
        return np.array([math.sin(swing) * math.cos(0.1), sign * math.sin(0.1), -math.cos(swing) * math.cos(0.1)])
    return np.array([0.0, sign * math.cos(angle), math.sin(angle)])


def _turned_to(direction: np.ndarray) -> np.ndarray:
    """(4,) quaternion w x y z of the shortest turn from the z axis to a unit vector that is not -z."""
    quaternion = np.array([1.0 + direction[2], -direction[1], direction[0], 0.0])
    return quaternion / np.linalg.norm(quaternion)


def _mjcf(images: dict[str, bytes], width: int, height: int, shadow_size: int) -> str:
    names = [file.removesuffix(".png") for file in images]
    repeat = {"floor": "0.5 0.5", "wall": "0.4 0.4"}
    assets = []
    for name in names:
        kind = name.split("_")[0]
        uniform = "true" if kind in repeat else "false"
        # Placards and plates shine a little by themselves, as retro-reflecting signs do: readable in any light.
        emission = "0.25" if kind in ("pictogram", "letter", "role") else "0"
        assets.append(
            f'<texture name="{name}" type="2d" file="{name}.png"/>'
            f'<material name="{name}" texture="{name}" texuniform="{uniform}" texrepeat="{repeat.get(kind, "1 1")}" '
            f'specular="0.1" shininess="0.1" emission="{emission}"/>'
        )
    return f"""
<mujoco>
  <visual>
    <global fovy="{math.degrees(VERTICAL_FOV):.4f}" offwidth="{width}" offheight="{height}"/>
    <quality shadowsize="{shadow_size}" offsamples="0"/>
    <map znear="0.005" zfar="3" shadowclip="0.6"/>
    <headlight ambient="0.4 0.4 0.4" diffuse="0.2 0.2 0.2" specular="0 0 0"/>
  </visual>
  <statistic extent="20" center="10 0 1"/>
  <asset>
    {"".join(assets)}
    <material name="lamp" emission="0.9" specular="0" shininess="0"/>
    <material name="glove" emission="0.45" specular="0" shininess="0"/>
    <material name="glow" emission="1" specular="0" shininess="0"/>
    <material name="matt" specular="0.15" shininess="0.2"/>
  </asset>
  <worldbody>
    <light name="sun" type="directional" pos="10 0 4" dir="0.2 0.1 -1" castshadow="true" specular="0.1 0.1 0.1"/>
    <geom name="floor" type="plane" pos="{HALL_LENGTH / 2} 0 0" size="{HALL_LENGTH} {HALL_HALF_WIDTH} 1" \
material="floor_0"/>
    {_walls()}
    {_racks()}
    {_person()}
    {_cart()}
    {_machine("machine", "")}
    {_machine("second", "second")}
  </worldbody>
</mujoco>"""


def _walls() -> str:
    half, length, top = HALL_HALF_WIDTH, HALL_LENGTH, 4.4
    middle = length / 2
    lamps = "".join(
        f'<geom name="ceiling_lamp_{i}" type="box" pos="{3 * i + 1.5} 0 {top - 0.06}" size="0.7 0.12 0.04" '
        f'material="glow" rgba="0.95 0.95 0.9 1"/>'
        for i in range(9)
    )
    lines = "".join(
        f'<geom name="line_{side}" type="box" pos="{middle} {y} 0.002" size="{length} 0.05 0.002" material="matt" '
        f'rgba="0.85 0.75 0.15 1"/>'
        for side, y in (("left", 2.95), ("right", -2.95))
    )
    return f"""
    <geom name="wall_left" type="plane" pos="{middle} {half} {top / 2}" size="{length} {top / 2} 1"
      xyaxes="1 0 0 0 0 1" material="wall_0"/>
    <geom name="wall_right" type="plane" pos="{middle} {-half} {top / 2}" size="{length} {top / 2} 1"
      xyaxes="-1 0 0 0 0 1" material="wall_0"/>
    <geom name="wall_end" type="plane" pos="{length} 0 {top / 2}" size="{half} {top / 2} 1"
      xyaxes="0 -1 0 0 0 1" material="wall_0"/>
    <geom name="wall_back" type="plane" pos="-3 0 {top / 2}" size="{half} {top / 2} 1"
      xyaxes="0 1 0 0 0 1" material="wall_0"/>
    <geom name="ceiling" type="plane" pos="{middle} 0 {top}" size="{length} {half} 1" zaxis="0 0 -1" material="matt"
      rgba="0.5 0.52 0.55 1"/>
    {lamps}{lines}"""


def _racks() -> str:
    """Two rows of bays: two uprights, two shelves and five boxes each."""
    geoms = []
    for side, y in (("left", 3.75), ("right", -3.75)):
        for bay in range(BAYS):
            x = FIRST_BAY + bay * BAY
            tag = f"rack_{side}_{bay}"
            edge = y - math.copysign(0.45, y)
            geoms.append(_box(f"{tag}_upright", (x, edge, 1.4), (0.05, 0.05, 1.4)))
            for level, z in enumerate((0.95, 2.0)):
                geoms.append(_box(f"{tag}_shelf_{level}", (x + BAY / 2, y, z), (BAY / 2, 0.45, 0.04)))
            for i, (dx, z, sx, sz) in enumerate(
                (
                    (0.8, 0.42, 0.55, 0.42),
                    (2.2, 0.35, 0.6, 0.35),
                    (0.8, 1.34, 0.6, 0.35),
                    (2.3, 1.4, 0.5, 0.41),
                    (1.5, 2.42, 0.7, 0.38),
                )
            ):
                geoms.append(_box(f"{tag}_box_{i}", (x + dx, y, z), (sx, 0.4, sz), material="cardboard"))
            wall = math.copysign(HALL_HALF_WIDTH - 0.01, y)
            geoms.append(
                _box(f"gate_{side}_{bay}", (gate_x(bay), wall, 1.3), (1.3, 0.01, 1.3), rgba="0.03 0.03 0.04 0")
            )
    return "\n".join(geoms)


def _person() -> str:
    limbs = []
    for side, y in (("left", 0.11), ("right", -0.11)):
        limbs.append(
            f'<geom name="person_leg_{side}" type="capsule" pos="0 {y} 0.45" size="0.085 0.38" material="matt"/>'
        )
        limbs.append(
            f'<geom name="person_arm_{side}" type="capsule" pos="0 {2.5 * y} 1.12" size="0.065 {ARM / 2}" '
            f'material="matt"/>'
        )
        limbs.append(f'<geom name="person_glove_{side}" type="sphere" pos="0 {y} 0.9" size="0.115" material="glove"/>')
    badges = "".join(
        f'<geom name="badge_{i}" type="box" pos="{x} 0 1.17" size="0.2 0.2 0.006" xyaxes="{axes}" '
        f'material="role_guest"/>'
        for i, (x, axes) in enumerate(((0.178, "0 1 0 0 0 1"), (-0.178, "0 -1 0 0 0 1")))
    )
    return f"""
    <body name="person" mocap="true">
      {"".join(limbs)}{badges}
      <geom name="person_torso" type="ellipsoid" pos="0 0 1.16" size="0.17 0.25 0.38" material="matt"/>
      {_box("person_strip", (0, 0, 1.12), (0.173, 0.235, 0.035), rgba="0.9 0.9 0.88 1")}
      <geom name="person_head" type="sphere" pos="0 0 1.63" size="0.12" material="matt" rgba="0.75 0.55 0.43 1"/>
      <geom name="person_helmet" type="ellipsoid" pos="0 0 1.69" size="0.15 0.14 0.1" material="matt"
        rgba="0.92 0.92 0.9 1"/>
    </body>"""


def _cart() -> str:
    wheels = "".join(
        f'<geom name="cart_wheel_{i}" type="cylinder" pos="{x} {y} 0.1" size="0.1 0.04" euler="90 0 0" material="matt" '
        f'rgba="0.08 0.08 0.08 1"/>'
        for i, (x, y) in enumerate(((0.4, 0.3), (0.4, -0.3), (-0.4, 0.3), (-0.4, -0.3)))
    )
    half_length, half_width, z = 0.42, 0.36, 0.66
    placards = "".join(
        f'<geom name="placard_{i}" type="box" pos="{pos}" size="0.26 0.26 0.006" xyaxes="{axes}" '
        f'material="pictogram_acid"/>'
        for i, (pos, axes) in enumerate(
            (
                (f"{half_length} 0 {z}", "0 1 0 0 0 1"),
                (f"0 {half_width} {z}", "-1 0 0 0 0 1"),
                (f"{-half_length} 0 {z}", "0 -1 0 0 0 1"),
                (f"0 {-half_width} {z}", "1 0 0 0 0 1"),
            )
        )
    )
    return f"""
    <body name="cart" mocap="true">
      {wheels}{placards}
      {_box("cart_base", (0.05, 0, 0.24), (0.62, 0.38, 0.1))}
      {_box("cart_crate", (0, 0, z), (half_length, half_width, 0.32), material="cardboard")}
      {_box("cart_handle", (0.64, 0, 1.05), (0.025, 0.34, 0.025))}
      {_box("cart_post_left", (0.64, 0.32, 0.65), (0.02, 0.02, 0.4), rgba="0.2 0.2 0.2 1")}
      {_box("cart_post_right", (0.64, -0.32, 0.65), (0.02, 0.02, 0.4), rgba="0.2 0.2 0.2 1")}
      {_box("cart_cabin", (0.98, 0, 0.55), (0.32, 0.38, 0.42))}
      {_box("cart_window", (0.98, 0, 1.12), (0.27, 0.34, 0.16), rgba="0.15 0.2 0.25 1")}
    </body>"""


def _machine(body: str, prefix: str) -> str:
    return f"""
    <body name="{body}" mocap="true">
      {_box(f"{body}_body", (0, 0, 0.85), (0.36, 0.5, 0.85))}
      {_box(f"{body}_foot", (0, 0, 0.04), (0.42, 0.56, 0.04), rgba="0.15 0.15 0.16 1")}
      {_box(f"{body}_door", (0.362, 0, 0.45), (0.004, 0.42, 0.33), rgba="0.3 0.32 0.34 1")}
      {_box(f"{body}_slot", (0.37, 0.1, 0.6), (0.004, 0.22, 0.03), rgba="0.08 0.08 0.08 1")}
      <geom name="{prefix}plate_0" type="box" pos="0.366 0 1.22" size="0.26 0.26 0.006" xyaxes="0 1 0 0 0 1"
        material="letter_A"/>
      <geom name="{body}_pole" type="cylinder" pos="0.1 0 1.76" size="0.03 0.08" material="matt" rgba="0.2 0.2 0.2 1"/>
      <geom name="{prefix}light_lamp" type="cylinder" pos="0.1 0 1.97" size="0.13 0.14" material="lamp"/>
      <geom name="{body}_cap" type="cylinder" pos="0.1 0 2.12" size="0.135 0.015" material="matt"
        rgba="0.1 0.1 0.1 1"/>
    </body>"""


def _box(
    name: str,
    pos: tuple[float, float, float],
    size: tuple[float, float, float],
    *,
    material: str = "matt",
    rgba: str = "0.5 0.5 0.5 1",
) -> str:
    p, s = (" ".join(f"{v:g}" for v in values) for values in (pos, size))
    return f'<geom name="{name}" type="box" pos="{p}" size="{s}" material="{material}" rgba="{rgba}"/>'
