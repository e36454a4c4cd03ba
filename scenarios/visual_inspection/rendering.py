"""Pictures of parts, from above, under a lamp at the side: plain torch, each lane by itself, differentiable."""

import torch

from simdl.scenarios.visual_inspection import shape
from simdl.scenarios.visual_inspection.look import Entries

SIZE = 40  # pixels of a side
PIXEL = 2.0 / SIZE
SHADOW = 0.09  # how far the shadow reaches, and
SOFT = 0.07  # how soft its edge is
# Waves of the textures: wave numbers up to that of two pixels, and how quickly the phase of a surface moves each.
WAVES = (15.3, 22.1, 28.7, 35.9, 44.3, 52.6)
TURNS = (1.618, 2.414, 3.303, 4.236, 5.193, 6.162)
SPECKS = 4
FRESH = 0.25  # how much brighter a fresh break is


def render(looks, size: int = SIZE):
    """Brightness (n, size, size) from 0 to 1 of looks (n, LOOK), n at a time."""
    it = Entries(looks)
    across, down = _grid(looks, size)  # in the picture
    cos, sin = torch.cos(it.angle), torch.sin(it.angle)
    right, below = across - it.x, down - it.y
    x, y = cos * right + sin * below, cos * below - sin * right  # in the frame of the part
    broken = shape.chip(x, y, it)
    distance = torch.maximum(shape.whole(x, y, it), -broken)
    slope_across, slope_down = _slopes(distance, 2.0 / size)
    towards_x, towards_y = torch.cos(it.light_angle), torch.sin(it.light_angle)

    metal = _metal(x, y, distance, broken, cos * slope_across + sin * slope_down, cos * slope_down - sin * slope_across,
                   cos * towards_x + sin * towards_y, cos * towards_y - sin * towards_x, it)  # fmt: skip
    shaded = distance + SHADOW * (slope_across * towards_x + slope_down * towards_y)
    dark = 1 - 0.6 * torch.sigmoid(-shaded / (0.4 * SOFT)) - 0.25 * _bell(distance.clamp(min=0.0) / SOFT)
    belt = it.belt * (1 + it.weave * _weave(across, down, it)) * dark.clamp(min=0.15)

    covered = (0.5 - distance * (size / 2.0)).clamp(0.0, 1.0)
    scene = belt + covered * (metal - belt) + it.dust * _dust(across, down, it)
    lamp = it.light * (1 + it.falloff * (across * torch.cos(it.falloff_angle) + down * torch.sin(it.falloff_angle)))
    return (scene * lamp).clamp(0.0, 1.0)


def _metal(x, y, distance, broken, slope_x, slope_y, light_x, light_y, it: Entries):
    """The brightness of the surface, before the lamp's fall-off."""
    deep = (-distance / it.bevel).clamp(0.0, 1.0)
    rise = -2.0 * (1 - deep)  # of the round bevel: h = bevel (2 t - t²), t = depth / bevel
    tilt_x, tilt_y = rise * slope_x, rise * slope_y
    away = shape.length(x, y)
    step = it.step * _bell(((away - it.step_at) / 0.035) ** 2) / away
    left, up = it.pair("dent")
    right, below = x - left, y - up
    dip = it.dent / it.dent_size * _bell((right * right + below * below) / (2 * it.dent_size**2))
    tilt_x, tilt_y = tilt_x + step * x + dip * right / it.dent_size, tilt_y + step * y + dip * below / it.dent_size

    flat, high = torch.cos(it.light_height), torch.sin(it.light_height)
    normal = torch.rsqrt(1 + tilt_x * tilt_x + tilt_y * tilt_y)
    facing = normal * (high - flat * (light_x * tilt_x + light_y * tilt_y))
    # Halfway between the lamp and the camera above: (flat l, high + 1), normalised.
    half = torch.rsqrt(2 + 2 * high)
    gloss = (normal * half * (high + 1 - flat * (light_x * tilt_x + light_y * tilt_y))).clamp(min=0.0) ** 24
    albedo = it.albedo * (1 + it.brush * _brushing(x, y, it) + it.grain * _grain(x, y, it)) * (1 - _stain(x, y, it))
    seen = albedo * (0.25 + 0.75 * facing.clamp(min=0.0) / high) + it.shine * gloss + _scratch(x, y, it)
    return (seen + FRESH * _bell((broken / 0.05) ** 2)).clamp(min=0.0)  # where it broke, it glitters


def _brushing(x, y, it: Entries):
    """Fine lines: straight, or circles about the middle; -1 to 1, mostly smaller."""
    cos, sin = torch.cos(it.brush_angle), torch.sin(it.brush_angle)
    turned = it.turned > 0.5
    across = torch.where(turned, shape.length(x, y), cos * y - sin * x)
    along = torch.where(turned, 0.5 * shape.bearing(x, y), cos * x + sin * y)
    total = torch.zeros_like(x)
    for wave, turn in zip(WAVES, TURNS, strict=True):
        bent = 1.4 * torch.sin((2.0 + turn) * along + turn * 1.7 * it.phase)  # a line does not go on for ever
        total = total + torch.sin(wave * across + turn * it.phase + bent)
    return total / len(WAVES) ** 0.5


def _grain(x, y, it: Entries):
    """The skin of a cast part: waves in all directions."""
    total = torch.zeros_like(x)
    for number, (wave, turn) in enumerate(zip(WAVES, TURNS, strict=True)):
        way = 2.399963 * number + 0.37 * turn * it.phase  # the golden angle spreads directions evenly
        total = total + torch.sin(wave * (x * torch.cos(way) + y * torch.sin(way)) + 2.3 * turn * it.phase)
    return total / len(WAVES) ** 0.5


def _weave(across, down, it: Entries):
    """The cloth of the belt, and its wear."""
    cloth = torch.sin(41.0 * across + it.belt_phase) * torch.sin(41.0 * down + 2.3 * it.belt_phase)
    worn = torch.sin(3.1 * across + 1.7 * it.belt_phase) * torch.sin(2.3 * down + 3.1 * it.belt_phase)
    return 0.5 * cloth + worn


def _dust(across, down, it: Entries):
    """A few small bright specks, anywhere."""
    total = torch.zeros_like(across)
    for number in range(SPECKS):
        left = torch.sin((number + 1) * 2.17 * it.belt_phase + number)
        up = torch.sin((number + 1) * 3.61 * it.phase + 2 * number)
        apart = ((across - left) ** 2 + (down - up) ** 2) / (0.5 * PIXEL) ** 2
        total = total + _bell(apart)
    return total


def _scratch(x, y, it: Entries):
    """A groove: a dark line with a bright flank."""
    left, up = it.pair("scratch")
    right, below = x - left, y - up
    cos, sin = torch.cos(it.scratch_angle), torch.sin(it.scratch_angle)
    along, off = cos * right + sin * below, cos * below - sin * right
    off = off - it.scratch_bend * along * along
    beyond = (along.abs() - it.scratch_length).clamp(min=0.0)
    ends = _bell((beyond / it.scratch_width) ** 2)
    core = _bell((off / it.scratch_width) ** 2)
    flank = _bell(((off - 1.5 * it.scratch_width) / it.scratch_width) ** 2)
    return it.scratch * ends * (0.6 * flank - core)


def _stain(x, y, it: Entries):
    """The part of the light that a blot takes away."""
    left, up = it.pair("stain")
    right, below = x - left, y - up
    cos, sin = torch.cos(it.stain_angle), torch.sin(it.stain_angle)
    along, off = (cos * right + sin * below) / it.stain_long, cos * below - sin * right
    uneven = 1 + 0.25 * torch.sin(3 * shape.bearing(along, off) + 2.0 * it.phase)
    return it.stain * torch.sigmoid((it.stain_size * uneven - shape.length(along, off)) / (0.25 * it.stain_size))


def _bell(squared):
    """exp(-squared), without the numbers so small that processors are slow with them."""
    return torch.exp(-squared.clamp(max=60.0))


def _grid(looks, size: int):
    """The middles of the pixels: x (1, 1, size), y (1, size, 1)."""
    middles = (torch.arange(size, dtype=looks.dtype, device=looks.device) + 0.5) * (2.0 / size) - 1.0
    return middles.reshape(1, 1, size), middles.reshape(1, size, 1)


def _slopes(field, pixel: float):
    """Central differences of (n, rows, columns) along columns and rows; half of one at the edges."""
    wide = torch.cat([field[:, :, :1], field, field[:, :, -1:]], 2)
    high = torch.cat([field[:, :1], field, field[:, -1:]], 1)
    return (wide[:, :, 2:] - wide[:, :, :-2]) / (2 * pixel), (high[:, 2:] - high[:, :-2]) / (2 * pixel)
