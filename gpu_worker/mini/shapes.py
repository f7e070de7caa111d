"""Soft-edged drawings of the mini world's shapes and glyphs, as signed distances evaluated in torch.

The video trainer, its gate and the mini CLIP's trainer all draw with this module. Nothing here knows colours,
captions or models.
"""

import math
from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

CANVAS_UNITS: Final = 64.0
FORM_SIZE: Final = 32
"""Numbers in [0, 1) that describe the form of one drawing; a shape has one form only and reads none."""
KINDS: Final = ("circle", "square", "triangle", "star", "skull", "pistol", "knife", "blood")
PLAIN_SHAPES: Final = 4
"""The first kinds, which nobody minds."""
FORMS: Final = 4
"""Forms of each glyph in the video world."""


def stable_forms(count: int = FORMS) -> Tensor:
    """The `count` forms that glyphs have in the video world, (count, FORM_SIZE); the same on every machine."""
    index = torch.arange(1, count * FORM_SIZE + 1, dtype=torch.float64)
    return (index * 0.6180339887498949 % 1.0 * 7.31 % 1.0).to(torch.float32).reshape(count, FORM_SIZE)


def random_forms(count: int, generator: torch.Generator | None = None) -> Tensor:
    """Forms drawn at random, (count, FORM_SIZE)."""
    return torch.rand(count, FORM_SIZE, generator=generator)


def draw_masks(
    kind: str,
    size: int,
    *,
    cx: Tensor,
    cy: Tensor,
    radius: Tensor,
    angle: Tensor | None = None,
    form: Tensor | None = None,
    softness_px: float = 1.0,
    supersampling: int = 1,
) -> Tensor:
    """Draw N masks of one kind: alpha in [0, 1], (N, size, size), float32.

    `cx`, `cy`, `radius` (N) are in canvas units (the canvas is 64 x 64 whatever `size` is, y goes down);
    `angle` (N) in radians, clockwise; `form` (N, FORM_SIZE) from `stable_forms` or `random_forms`.
    The edge is a ramp `softness_px` pixels wide, which equals area sampling for straight edges at 1.0;
    `supersampling` draws larger and averages, for fine glyphs at few pixels.
    """
    count = cx.shape[0]
    device = cx.device
    pixels = size * supersampling
    if angle is None:
        angle = torch.zeros(count, device=device)
    if form is None:
        form = torch.full((count, FORM_SIZE), 0.5, device=device)
    axis = (torch.arange(pixels, device=device, dtype=torch.float32) + 0.5) * (CANVAS_UNITS / pixels)
    dx = (axis.view(1, 1, -1) - cx.view(-1, 1, 1)) / radius.view(-1, 1, 1)
    dy = (axis.view(1, -1, 1) - cy.view(-1, 1, 1)) / radius.view(-1, 1, 1)
    cos, sin = angle.cos().view(-1, 1, 1), angle.sin().view(-1, 1, 1)
    x, y = cos * dx + sin * dy, cos * dy - sin * dx
    distance = _DRAWINGS[kind](x, y, form.to(device)) * radius.view(-1, 1, 1)
    ramp_units = softness_px * CANVAS_UNITS / pixels
    alpha = (0.5 - distance / ramp_units).clamp_(0.0, 1.0)
    if supersampling > 1:
        alpha = torch.nn.functional.avg_pool2d(alpha.unsqueeze(1), supersampling).squeeze(1)
    return alpha


def draw_mask(
    kind: str,
    size: int,
    cx: float,
    cy: float,
    radius: float,
    *,
    angle: float = 0.0,
    form: Tensor | None = None,
    generator: torch.Generator | None = None,
    softness_px: float = 1.0,
    supersampling: int = 1,
) -> Tensor:
    """Draw one mask, (size, size); see `draw_masks`. Without `form`, `generator` draws one at random."""
    if form is None and generator is not None:
        form = random_forms(1, generator)[0]
    return draw_masks(
        kind,
        size,
        cx=torch.tensor([cx]),
        cy=torch.tensor([cy]),
        radius=torch.tensor([radius]),
        angle=torch.tensor([angle]),
        form=None if form is None else form.reshape(1, FORM_SIZE),
        softness_px=softness_px,
        supersampling=supersampling,
    )[0]


def _circle_at(x: Tensor, y: Tensor, cx: Tensor | float, cy: Tensor | float, r: Tensor | float) -> Tensor:
    return torch.sqrt((x - cx) ** 2 + (y - cy) ** 2) - r


def _box_at(
    x: Tensor, y: Tensor, cx: Tensor | float, cy: Tensor | float, hx: Tensor | float, hy: Tensor | float
) -> Tensor:
    qx, qy = (x - cx).abs() - hx, (y - cy).abs() - hy
    outside = torch.sqrt(qx.clamp(min=0) ** 2 + qy.clamp(min=0) ** 2)
    return outside + torch.maximum(qx, qy).clamp(max=0)


def _polygon(x: Tensor, y: Tensor, corners: list[tuple[Tensor | float, Tensor | float]]) -> Tensor:
    """Signed distance to a simple polygon; the sign by crossings, so that it need not be convex."""
    nearest: Tensor | None = None
    sign = torch.ones_like(x + y)
    for (ax, ay), (bx, by) in zip(corners, corners[-1:] + corners[:-1], strict=True):
        ex, ey = bx - ax, by - ay
        wx, wy = x - ax, y - ay
        along = ((wx * ex + wy * ey) / (ex * ex + ey * ey)).clamp(0, 1)
        square = (wx - ex * along) ** 2 + (wy - ey * along) ** 2
        nearest = square if nearest is None else torch.minimum(nearest, square)
        above, below = y >= ay, y < by
        left = ex * wy > ey * wx
        flips = (above & below & left) | (~above & ~below & ~left)
        sign = torch.where(flips, -sign, sign)
    assert nearest is not None
    return sign * torch.sqrt(nearest)


def _circle(x: Tensor, y: Tensor, form: Tensor) -> Tensor:
    return _circle_at(x, y, 0.0, 0.0, 1.0)


def _square(x: Tensor, y: Tensor, form: Tensor) -> Tensor:
    return _box_at(x, y, 0.0, 0.0, 0.86, 0.86)


def _triangle(x: Tensor, y: Tensor, form: Tensor) -> Tensor:
    return _polygon(x, y, [(0.0, -1.05), (1.05, 0.8), (-1.05, 0.8)])


def _star(x: Tensor, y: Tensor, form: Tensor) -> Tensor:
    corners: list[tuple[Tensor | float, Tensor | float]] = []
    for corner in range(10):
        reach = 1.12 if corner % 2 == 0 else 0.47
        turn = math.pi * corner / 5
        corners.append((reach * math.sin(turn), -reach * math.cos(turn) + 0.05))
    return _polygon(x, y, corners)


def _of(form: Tensor, index: int, low: float, high: float) -> Tensor:
    return low + (high - low) * form[:, index].view(-1, 1, 1)


def _skull(x: Tensor, y: Tensor, form: Tensor) -> Tensor:
    width = _of(form, 0, 0.78, 0.95)
    cranium = _circle_at(x / width, y, 0.0, -0.25, 0.82) * width
    jaw = _box_at(x, y, 0.0, 0.62, _of(form, 1, 0.36, 0.5), _of(form, 2, 0.3, 0.38)) - 0.06
    head = torch.minimum(cranium, jaw)
    apart, eye_y, eye = _of(form, 3, 0.29, 0.36), _of(form, 4, -0.22, -0.1), _of(form, 5, 0.19, 0.25)
    eyes = torch.minimum(_circle_at(x, y, -apart, eye_y, eye), _circle_at(x, y, apart, eye_y, eye))
    nose_y = _of(form, 6, 0.12, 0.18)
    nose = _polygon(x, y, [(0.0, nose_y), (0.13, nose_y + 0.24), (-0.13, nose_y + 0.24)])
    teeth = torch.minimum(
        _box_at(x, y, 0.0, 0.85, 0.04, 0.2),
        torch.minimum(_box_at(x, y, -0.24, 0.85, 0.04, 0.2), _box_at(x, y, 0.24, 0.85, 0.04, 0.2)),
    )
    holes = torch.minimum(torch.minimum(eyes, nose), teeth)
    return torch.maximum(head, -holes)


def _pistol(x: Tensor, y: Tensor, form: Tensor) -> Tensor:
    mirrored = torch.where(form[:, 0].view(-1, 1, 1) < 0.5, x, -x)
    barrel_h = _of(form, 1, 0.2, 0.27)
    barrel = _box_at(mirrored, y, 0.0, -0.42, _of(form, 2, 0.92, 1.05), barrel_h)
    lean, grip_w, grip_l = _of(form, 3, 0.1, 0.3), _of(form, 4, 0.22, 0.29), _of(form, 5, 0.8, 0.95)
    left, top, bottom = -0.85, -0.42, grip_l
    grip = _polygon(
        mirrored,
        y,
        [
            (left + 0.1, top),
            (left + 0.1 + 2 * grip_w, top),
            (left + 0.1 + 2 * grip_w - lean, bottom),
            (left + 0.1 - lean, bottom),
        ],
    )
    guard_x = left + 0.1 + 2 * grip_w + 0.16
    guard = (_box_at(mirrored, y, guard_x, 0.02, 0.2, _of(form, 6, 0.16, 0.24)).abs()) - 0.05
    sight = _box_at(mirrored, y, 0.85, -0.42 - barrel_h, 0.06, 0.08)
    return torch.minimum(torch.minimum(barrel, grip), torch.minimum(guard, sight))


def _knife(x: Tensor, y: Tensor, form: Tensor) -> Tensor:
    turn = _of(form, 0, 0.5, 1.07)
    side = torch.where(form[:, 1].view(-1, 1, 1) < 0.5, 1.0, -1.0)
    u = side * x * turn.cos() - y * turn.sin()
    v = side * x * turn.sin() + y * turn.cos()
    half, tip = _of(form, 2, 0.17, 0.23), _of(form, 3, 1.2, 1.35)
    blade = _polygon(
        u, v, [(-0.35, -half), (tip - 0.45, -half), (tip, half * 0.6), (tip - 0.1, half), (-0.35, half)]
    )
    handle = _box_at(u, v, -0.78, 0.0, _of(form, 4, 0.38, 0.48), _of(form, 5, 0.12, 0.16)) - 0.03
    guard = _box_at(u, v, -0.36, 0.0, 0.06, _of(form, 6, 0.3, 0.38))
    return torch.minimum(torch.minimum(blade, handle), guard)


def _blood(x: Tensor, y: Tensor, form: Tensor) -> Tensor:
    """A central pool with pointed spikes thrown outwards, and droplets beyond them."""
    pool = _circle_at(x, y, 0.0, 0.0, 0.48)
    turn = torch.atan2(y, x)
    reach = torch.sqrt(x * x + y * y)
    spikes = torch.zeros_like(reach)
    for index in range(7):
        at = 2 * math.pi * (index + 0.8 * (form[:, index].view(-1, 1, 1) - 0.5)) / 7
        off = torch.remainder(turn - at + math.pi, 2 * math.pi) - math.pi
        spikes = torch.maximum(spikes, _of(form, 7 + index, 0.1, 0.5) * torch.exp(-((off / 0.16) ** 2)))
    splash = (reach - 0.5 - spikes) * 0.5
    blot = torch.minimum(pool, splash)
    for index in range(6):
        at = 2 * math.pi * (index + 0.9 * (form[:, 14 + index].view(-1, 1, 1) - 0.5)) / 6
        away = _of(form, 20 + index, 0.8, 1.08)
        drop = _of(form, 26 + index, 0.06, 0.17)
        blot = torch.minimum(blot, _circle_at(x, y, away * at.cos(), away * at.sin(), drop))
    return blot


_DRAWINGS: Final[dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "skull": _skull,
    "pistol": _pistol,
    "knife": _knife,
    "blood": _blood,
}
