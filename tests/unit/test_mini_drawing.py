"""The drawings, the two-colour codec and the gate's reader, each against known clips."""

import pytest
import torch

from backend.recipes.mini_world import EXAMPLE_PROMPTS, read_pieces
from gpu_worker.mini.clips import MaskDrawer, paint, sample_colours, sample_specs
from gpu_worker.mini.codec import MiniVideoCodec, separate
from gpu_worker.mini.gate import ClipReader, held_out_cases, is_right, rendered_clips
from gpu_worker.mini.muon import orthogonalise
from gpu_worker.mini.outlines import Outlines
from gpu_worker.mini.shapes import KINDS, draw_mask, draw_masks, random_forms, stable_forms
from gpu_worker.mini.text import build_tokenizer
from gpu_worker.mini.training_data import World, is_held_out


@pytest.mark.parametrize("kind", KINDS)
def test_a_drawing_scales_with_its_radius_and_stays_where_it_was_put(kind: str) -> None:
    small, large = (draw_mask(kind, 128, 32.0, 32.0, radius) for radius in (8.0, 16.0))
    assert float(large.sum() / small.sum()) == pytest.approx(4.0, rel=0.1)
    axis = torch.arange(128) + 0.5
    centre = (large.sum(0) * axis).sum() / large.sum()
    assert abs(float(centre) - 64) < 8


@pytest.mark.parametrize("kind", KINDS[4:])
def test_glyphs_vary_in_form(kind: str) -> None:
    forms = random_forms(2, torch.Generator().manual_seed(1))
    place = torch.full((2,), 32.0)
    masks = draw_masks(kind, 64, cx=place, cy=place, radius=torch.full((2,), 20.0), form=forms)
    assert float((masks[0] - masks[1]).abs().sum()) > 10


def test_tables_draw_what_the_exact_distances_draw() -> None:
    drawer = MaskDrawer()
    for kind in range(len(KINDS)):
        index, form = torch.tensor([kind]), torch.tensor([2])
        place, radius = torch.tensor([30.0]), torch.tensor([17.0])
        exact = draw_masks(KINDS[kind], 96, cx=place, cy=place, radius=radius, form=stable_forms()[2:3])
        quick = drawer.draw(index, form, place, place, radius, 96)
        assert float((exact - quick).abs().mean()) < 0.01


def test_two_colours_and_a_mask_are_found_in_a_painted_clip() -> None:
    generator = torch.Generator().manual_seed(5)
    specs = sample_specs(6, generator)
    foreground, background = sample_colours(6, generator)
    masks = MaskDrawer().draw_clips(specs, 48)
    clip = paint(masks, foreground, background)
    shape_colour, ground_colour, mask = separate(clip)
    again = paint(masks, foreground, background)[:, :, 0, 0, 0]
    assert torch.allclose(ground_colour, again, atol=0.02)
    assert float((mask - masks).abs().mean()) < 0.01
    assert float((shape_colour - ground_colour).abs().max()) > 0.1


def test_encoding_a_drawn_clip_finds_the_numbers_it_was_drawn_from() -> None:
    drawer = MaskDrawer()
    outlines = Outlines(drawer)
    codec = MiniVideoCodec()
    world = World(codec=codec, outlines=outlines, codes=outlines.fit_basis(codec), drawer=drawer)
    specs = sample_specs(6, torch.Generator().manual_seed(2))
    foreground, background = torch.arange(6), torch.arange(6) + 1
    clip = paint(drawer.draw_clips(specs, 288), foreground, background)
    encoded = codec.encode(clip).latent_dist.mode()[..., 0, 0].transpose(1, 2)
    assert float((encoded - world.latents(specs, foreground, background)).abs().mean()) < 0.05


def test_a_plain_picture_has_an_empty_mask() -> None:
    _, _, mask = separate(torch.full((1, 3, 1, 48, 48), 0.3))
    assert float(mask.abs().max()) == 0.0


def test_the_gate_reads_truly_drawn_clips_right() -> None:
    cases = held_out_cases(8, 4)
    reader = ClipReader()
    readings = [reader.read(clip) for clip in rendered_clips(cases)]
    assert all(is_right(case, reading) for case, reading in zip(cases, readings, strict=True))
    assert min(reading.iou for reading in readings) > 0.94


def test_held_out_combinations_are_about_a_tenth() -> None:
    held = [
        is_held_out(thing, motion, foreground, background)
        for thing in range(8)
        for motion in range(7)
        for foreground in range(8)
        for background in range(8)
    ]
    assert 0.07 < sum(held) / len(held) < 0.13


def test_the_tokenizer_reads_prompts_as_the_world_says() -> None:
    tokenizer = build_tokenizer()
    for prompt in (*EXAMPLE_PROMPTS, "Elephants over a BLUE circle, on red!", ""):
        pieces = tokenizer.convert_ids_to_tokens(tokenizer(prompt).input_ids)
        assert tuple(pieces) == (*read_pieces(prompt), "</s>")


def test_orthogonalised_matrices_have_singular_values_near_one() -> None:
    stack = torch.randn(2, 48, 96, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalise(stack))
    assert float(values.min()) > 0.3
    assert float(values.max()) < 1.3
