"""The first clip, as a user makes it: from the command line, and with the unmodified openai client."""

from pathlib import Path

import av
import openai
import pytest

from tests.e2e.running_studio import RunningStudio

PROMPT = "a red circle moving right on a blue background"


@pytest.fixture(scope="module")
def key(shared_studio: RunningStudio) -> str:
    return shared_studio.creator_with_key("first@example.org")


def _frames(path: Path) -> list["av.VideoFrame"]:
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        return list(container.decode(video=0))


def test_the_command_line_makes_the_clip_that_was_asked_for(
    shared_studio: RunningStudio, tmp_path: Path
) -> None:
    clip = tmp_path / "clip.mp4"
    shared_studio.run("generate", PROMPT, "-o", str(clip))
    frames = [frame.to_ndarray(format="rgb24").astype(int) for frame in _frames(clip)]
    assert len(frames) == 17

    def red_centre(frame: "object") -> float:
        red = (frame[..., 0] > 150) & (frame[..., 2] < 120)  # type: ignore[index]  # an array
        assert red.any()
        return float(red.nonzero()[1].mean())

    border = frames[0][:8].reshape(-1, 3).mean(axis=0)
    assert border[2] > border[0]
    assert red_centre(frames[-1]) - red_centre(frames[0]) > frames[0].shape[1] * 0.12


def test_the_openai_client_makes_polls_and_downloads(
    shared_studio: RunningStudio, key: str, tmp_path: Path
) -> None:
    client = openai.OpenAI(base_url=f"{shared_studio.url}/v1", api_key=key)
    video = client.videos.create_and_poll(prompt=PROMPT, seconds="2")
    assert (video.status, video.progress) == ("completed", 100)
    for variant, head in (("video", b"ftyp"), ("thumbnail", b"RIFF"), ("spritesheet", b"RIFF")):
        data = client.videos.download_content(video.id, variant=variant).read()
        assert head in data[:12]
    assert video.id in [item.id for item in client.videos.list(limit=5)]
    client.videos.delete(video.id)
    with pytest.raises(openai.NotFoundError):
        client.videos.retrieve(video.id)
