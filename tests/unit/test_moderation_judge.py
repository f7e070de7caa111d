import functools
import io
import struct
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import av
import numpy as np
import pytest
from PIL import Image

from moderation.clip_pictures import ClipDecoder
from moderation.fake_classifier import CYAN, MAGENTA, FakeClassifier
from moderation.frames import ClipShape, ClipUnreadable, choose, sample_frames
from moderation.judge import clause_scores, judge_image
from moderation.judge import judge_clip as judge_clip_with
from moderation.limited_process import Limits
from moderation.policy import default_policy
from moderation.verdict import CLASSIFIER_ERROR, NotAsOrdered, Surface, Verdict

GREY = (90, 90, 90)
POLICY = default_policy()
FRAME: Final = {"size": [1, 1], "at_s": 0.0, "index": 0}
ODD_ANSWERS: Final[list[tuple[dict[str, object], bytes]]] = [
    ({}, b""),
    ({"frames": [], "beside": {"thumbnail": [1, 1]}}, b"rgb"),
    ({"frames": [FRAME], "beside": {}}, b""),
    ({"frames": [FRAME] * 1000, "beside": {"thumbnail": [1, 1]}}, b"rgb" * 1001),
    ({"frames": [{**FRAME, "size": [-1, -3]}], "beside": {"thumbnail": [1, 1]}}, b"rgb" * 2),
    ({"frames": [{**FRAME, "size": "11"}], "beside": {"thumbnail": [1, 1]}}, b"rgb" * 2),
    ({"frames": [{**FRAME, "index": float("inf")}], "beside": {"thumbnail": [1, 1]}}, b"rgb" * 2),
    ({"frames": [FRAME], "beside": {}}, b"rgb"),
    ({"frames": [FRAME], "beside": {"thumbnail": [0, 5]}}, b"rgb"),
    ({"frames": 7, "beside": {"thumbnail": [1, 1]}}, b"rgb"),
]
DECODER = ClipDecoder()
judge_clip = functools.partial(judge_clip_with, decoder=DECODER)


@pytest.fixture(scope="module", autouse=True)
def decoder_ends() -> Iterator[None]:
    with DECODER:
        yield


def picture(colour: tuple[int, int, int], share: float = 1.0) -> Image.Image:
    image = Image.new("RGB", (64, 64), GREY)
    image.paste(colour, (0, 0, 64, round(64 * share)))
    return image


def clip(path: Path, colours: Sequence[tuple[int, int, int]]) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=8, options={"crf": "10"})
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv444p"
        for colour in colours:
            pixels = np.full((64, 64, 3), colour, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path


def test_a_clean_clip_is_allowed(tmp_path: Path) -> None:
    ruling = judge_clip(clip(tmp_path / "a.mp4", [GREY] * 17), FakeClassifier(), POLICY)
    assert ruling.verdict is Verdict.ALLOW
    assert dict(ruling.scores)["weapons"] == 0


def test_a_clip_above_the_block_threshold_is_blocked_and_says_when(tmp_path: Path) -> None:
    ruling = judge_clip(clip(tmp_path / "a.mp4", [GREY] * 8 + [MAGENTA] * 4), FakeClassifier(), POLICY)
    assert (ruling.verdict, ruling.clause) == (Verdict.BLOCK, "graphic_violence")
    assert ruling.findings[0].at_s == pytest.approx(1.0)


def test_a_clause_without_a_block_threshold_goes_to_review(tmp_path: Path) -> None:
    ruling = judge_clip(clip(tmp_path / "a.mp4", [CYAN] * 5), FakeClassifier(), POLICY)
    assert (ruling.verdict, ruling.clause) == (Verdict.REVIEW, "weapons")


@pytest.mark.parametrize("length", [17, 400])
def test_a_flash_of_two_frames_is_found(tmp_path: Path, length: int) -> None:
    colours = [GREY] * length
    colours[length // 2 + 3 : length // 2 + 5] = [MAGENTA] * 2
    assert judge_clip(clip(tmp_path / "a.mp4", colours), FakeClassifier(), POLICY).verdict is Verdict.BLOCK


def test_one_certain_frame_is_enough_for_review(tmp_path: Path) -> None:
    ruling = judge_clip(clip(tmp_path / "a.mp4", [GREY] * 8 + [CYAN] + [GREY] * 8), FakeClassifier(), POLICY)
    assert ruling.verdict is Verdict.REVIEW


def test_the_thumbnail_and_each_picture_of_the_sheet_are_judged_too(tmp_path: Path) -> None:
    video = clip(tmp_path / "a.mp4", [GREY] * 5)
    thumbnail = tmp_path / "t.png"
    picture(MAGENTA).save(thumbnail)
    by_thumbnail = judge_clip(video, FakeClassifier(), POLICY, thumbnail=thumbnail)
    assert by_thumbnail.findings[0].surface is Surface.THUMBNAIL
    sheet = Image.new("RGB", (64 * 5, 64 * 5), GREY)
    sheet.paste(MAGENTA, (128, 64, 192, 128))
    sheet.paste(MAGENTA, (192, 64, 256, 128))
    sheet.save(tmp_path / "s.png")
    whole = judge_clip(video, FakeClassifier(), POLICY, spritesheet=tmp_path / "s.png")
    split = judge_clip(
        video, FakeClassifier(), POLICY, spritesheet=tmp_path / "s.png", sheet_columns=5, sheet_rows=5
    )
    assert whole.verdict is Verdict.ALLOW
    assert split.verdict is Verdict.BLOCK


def test_a_classifier_that_errs_sends_the_clip_to_a_person(tmp_path: Path) -> None:
    broken = FakeClassifier(error=RuntimeError("out of memory"))
    ruling = judge_clip(clip(tmp_path / "a.mp4", [GREY] * 3), broken, POLICY)
    assert (ruling.verdict, ruling.clause) == (Verdict.REVIEW, CLASSIFIER_ERROR)
    assert "out of memory" in ruling.findings[0].detail
    assert judge_image(picture(GREY), broken, POLICY).verdict is Verdict.REVIEW


def test_a_clip_that_cannot_be_decoded_goes_to_a_person(tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"\0" * 500)
    assert judge_clip(broken, FakeClassifier(), POLICY).verdict is Verdict.REVIEW
    with broken.open("rb") as file, pytest.raises(ClipUnreadable):
        sample_frames(file)


def test_a_clip_longer_than_is_looked_at_is_not_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moderation.frames.MAX_FRAMES", 20)
    longest = io.BytesIO(clip(tmp_path / "a.mp4", [GREY] * 20).read_bytes())
    assert len(sample_frames(longest)) == 20
    too_long = io.BytesIO(clip(tmp_path / "b.mp4", [GREY] * 20 + [MAGENTA]).read_bytes())
    with pytest.raises(ClipUnreadable, match="more than 20 frames"):
        sample_frames(too_long)


@pytest.mark.parametrize("kind", ["video", "sound"])
def test_a_clip_with_a_track_that_nobody_looks_at_goes_to_a_person(tmp_path: Path, kind: str) -> None:
    ruling = judge_clip(two_tracks(tmp_path / "a.mp4", kind), FakeClassifier(), POLICY)
    assert (ruling.verdict, ruling.clause) == (Verdict.REVIEW, CLASSIFIER_ERROR)
    assert "2 tracks" in ruling.findings[0].detail


def two_tracks(path: Path, kind: str) -> Path:
    """A harmless clip, and beside it a second picture track of something else, or sound."""
    with av.open(str(path), "w") as container:
        # A track is known to the container before anything is written.
        pictures = [container.add_stream("libx264", rate=8) for _track in range(2 if kind == "video" else 1)]
        sound = container.add_stream("aac", rate=48000, layout="mono") if kind == "sound" else None
        for stream in pictures:
            stream.width = stream.height = 64
            stream.pix_fmt = "yuv444p"
        for stream, colour in zip(pictures, (GREY, MAGENTA), strict=False):
            pixels = np.full((64, 64, 3), colour, dtype=np.uint8)
            for _frame in range(5):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            container.mux(stream.encode())
        if sound is not None:
            silence = av.AudioFrame.from_ndarray(
                np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
            )
            silence.sample_rate, silence.pts = 48000, 0
            container.mux(sound.encode(silence))
            container.mux(sound.encode())
    return path


def test_a_thumbnail_that_moves_goes_to_a_person(tmp_path: Path) -> None:
    moving = tmp_path / "t.webp"
    picture(GREY).save(moving, save_all=True, append_images=[picture(MAGENTA)], duration=100)
    ruling = judge_clip(clip(tmp_path / "a.mp4", [GREY] * 5), FakeClassifier(), POLICY, thumbnail=moving)
    assert (ruling.verdict, ruling.clause) == (Verdict.REVIEW, CLASSIFIER_ERROR)


def test_a_doubt_between_two_bad_things_is_no_way_through() -> None:
    asked = POLICY.classifier("mini_clip")
    scores = dict.fromkeys((concept.label for concept in asked.concepts), 0.0)
    torn = clause_scores({**scores, "weapon": 0.35, "skull": 0.4, "circle": 0.25}, asked)
    assert torn["graphic_violence"] == pytest.approx(0.75)
    assert torn["weapons"] == pytest.approx(0.35)


def test_a_long_clip_is_sampled_within_bounds() -> None:
    still = [np.zeros((16, 16, 3), dtype=np.float32)] * 5_000
    assert len(choose(still)) == 32
    cuts = [np.full((16, 16, 3), index // 209 % 2, dtype=np.float32) for index in range(5_000)]
    assert 32 < len(choose(cuts)) <= 32 + 48


def test_a_strobe_hides_no_frame_behind_it(tmp_path: Path) -> None:
    restless = [np.full((16, 16, 3), index % 2, dtype=np.float32) for index in range(50)]
    assert choose([*restless, *restless[:1] * 71]) == tuple(range(121))
    colours = [GREY if index % 2 else (0, 0, 0) for index in range(50)] + [GREY] * 71
    colours[99] = MAGENTA
    assert judge_clip(clip(tmp_path / "a.mp4", colours), FakeClassifier(), POLICY).verdict is Verdict.REVIEW


def test_a_long_clip_that_never_rests_goes_to_a_person(tmp_path: Path) -> None:
    colours = [GREY if index % 2 else (0, 0, 0) for index in range(241)]
    judgement = judge_clip(clip(tmp_path / "a.mp4", colours), FakeClassifier(), POLICY)
    assert judgement.verdict is Verdict.REVIEW


def test_frames_that_an_edit_list_hides_are_judged_and_counted(tmp_path: Path) -> None:
    video = hidden_start(clip(tmp_path / "a.mp4", [MAGENTA] * 9 + [GREY] * 9), frames=9)
    with av.open(str(video)) as container:
        assert len(list(container.decode(video=0))) == 9, (
            "a player that follows the list shows the second half"
        )
    with pytest.raises(NotAsOrdered, match="more than 9"):
        judge_clip(video, FakeClassifier(), POLICY, shape=SHAPE)
    assert judge_clip(video, FakeClassifier(), POLICY).verdict is not Verdict.ALLOW


def hidden_start(path: Path, *, frames: int) -> Path:
    """The clip with its edit list beginning so many frames (of 1/8 s) later."""
    data = bytearray(path.read_bytes())
    at = data.index(b"elst")
    version, entries = data[at + 4], struct.unpack_from(">I", data, at + 8)[0]
    assert (version, entries) == (0, 1)
    with av.open(str(path)) as container:
        ticks_a_frame = 1 / 8 / container.streams.video[0].time_base
    duration, began = struct.unpack_from(">Ii", data, at + 12)
    struct.pack_into(">Ii", data, at + 12, duration // 2, began + round(frames * ticks_a_frame))
    path.write_bytes(data)
    return path


SHAPE = ClipShape(width=64, height=64, num_frames=9, thumbnail=(64, 64), spritesheet=(128, 64))


@pytest.mark.parametrize(
    "shape",
    [
        replace(SHAPE, num_frames=8),
        replace(SHAPE, num_frames=10),
        replace(SHAPE, width=32),
        replace(SHAPE, height=128),
        replace(SHAPE, thumbnail=(32, 32)),
        replace(SHAPE, spritesheet=(64, 64)),
    ],
)
def test_files_that_are_not_of_the_shape_that_was_ordered_are_not_judged(
    tmp_path: Path, shape: ClipShape
) -> None:
    video = clip(tmp_path / "a.mp4", [GREY] * 9)
    thumbnail, sheet = tmp_path / "t.webp", tmp_path / "s.webp"
    picture(GREY).save(thumbnail)
    picture(GREY).resize((128, 64)).save(sheet)

    def judged(expected: ClipShape) -> Verdict:
        return judge_clip(
            video, FakeClassifier(), POLICY, thumbnail=thumbnail, spritesheet=sheet, shape=expected
        ).verdict

    assert judged(SHAPE) is Verdict.ALLOW
    with pytest.raises(NotAsOrdered):
        judged(shape)


def test_a_clip_that_takes_too_long_to_decode_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moderation.frames.DECODED_WITHIN_S", -1.0)
    file = io.BytesIO(clip(tmp_path / "a.mp4", [GREY] * 9).read_bytes())
    with pytest.raises(NotAsOrdered, match="not decoded"):
        sample_frames(file, SHAPE)


def test_a_strangers_files_are_opened_in_a_process_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video, thumbnail = clip(tmp_path / "a.mp4", [GREY] * 3), tmp_path / "t.webp"
    picture(GREY).save(thumbnail)
    monkeypatch.setattr("av.open", lambda *_, **__: pytest.fail("a clip was opened here"))
    monkeypatch.setattr("PIL.Image.open", lambda *_, **__: pytest.fail("a picture was opened here"))
    assert judge_clip(video, FakeClassifier(), POLICY, thumbnail=thumbnail).verdict is Verdict.ALLOW


@pytest.mark.parametrize(
    "limits",
    [
        pytest.param(
            Limits(wall_s=20.0, cpu_s=20, memory_bytes=2**20, answer_bytes=2**20),
            marks=pytest.mark.skipif(sys.platform == "darwin", reason="macOS holds no limit of memory"),
        ),
        Limits(wall_s=20.0, cpu_s=20, memory_bytes=2**30, answer_bytes=100),
    ],
    ids=["memory", "answer"],
)
def test_a_clip_that_takes_more_than_is_allowed_is_its_workers_fault(tmp_path: Path, limits: Limits) -> None:
    with ClipDecoder(limits) as decoder, pytest.raises(NotAsOrdered):
        judge_clip_with(clip(tmp_path / "a.mp4", [GREY] * 9), FakeClassifier(), POLICY, decoder=decoder)


@pytest.mark.parametrize("answer", ODD_ANSWERS)
def test_nothing_that_comes_out_of_the_process_is_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: tuple[dict[str, object], bytes]
) -> None:
    monkeypatch.setattr("moderation.limited_process.LimitedProcesses.ask", lambda *_: answer)
    video, thumbnail = clip(tmp_path / "a.mp4", [GREY] * 3), tmp_path / "t.webp"
    picture(GREY).save(thumbnail)
    with pytest.raises(NotAsOrdered):
        judge_clip(video, FakeClassifier(), POLICY, thumbnail=thumbnail)


def test_a_clip_that_is_a_list_of_other_files_is_not_followed(tmp_path: Path) -> None:
    clip(tmp_path / "other.mp4", [GREY] * 3)
    listing = tmp_path / "clip.mp4"
    listing.write_text("ffconcat version 1.0\nfile other.mp4\n")
    ruling = judge_clip(listing, FakeClassifier(), POLICY)
    assert (ruling.verdict, ruling.clause) == (Verdict.REVIEW, CLASSIFIER_ERROR)
    with listing.open("rb") as file, pytest.raises(ClipUnreadable):
        sample_frames(file)
