"""What a checkpoint keeps comes back bit for bit, and torn bytes are refused."""

import json
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from backend.contracts import Conditioning, RenderSpec, SignedObject
from gpu_worker.checkpoint import BadCheckpointError, Checkpoint, Json, request_fingerprint
from gpu_worker.tensor_state import Arrays, BadStateError, UnknownStateError, pack, unpack

SPEC = RenderSpec(
    prompt="p", width=8, height=8, num_frames=1, fps=8, num_inference_steps=2, guidance_scale=1.0, seed=1
)


def make_checkpoint() -> Checkpoint:
    return Checkpoint(
        step=3,
        identity="engine",
        request="spec",
        tensors={"latents": np.arange(6, dtype=np.float32).reshape(2, 3)},
        state={"nested": [1, None, {"deep": 0.1}]},
    )


def test_a_checkpoint_survives_its_bytes() -> None:
    kept = make_checkpoint()
    back = Checkpoint.from_bytes(kept.to_bytes())
    assert (back.step, back.identity, back.request, back.state) == (3, "engine", "spec", kept.state)
    assert np.array_equal(back.tensors["latents"], kept.tensors["latents"])


@pytest.mark.parametrize("data", [b"", b"junk", b"\xff" * 64, b"\x00" * 64])
def test_foreign_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(BadCheckpointError):
        Checkpoint.from_bytes(data)


@given(cut=st.integers(min_value=0, max_value=500))
def test_torn_bytes_are_refused(cut: int) -> None:
    data = make_checkpoint().to_bytes()
    with pytest.raises(BadCheckpointError):
        Checkpoint.from_bytes(data[: min(cut, len(data) - 1)])


def with_metadata(**metadata: str) -> bytes:
    """A file of no tensors with this metadata."""
    header = json.dumps({"__metadata__": metadata}).encode()
    return len(header).to_bytes(8, "little") + header


HEADER: Mapping[str, object] = {
    "format": "zoetrope-checkpoint-1",
    "step": 3,
    "identity": "engine",
    "request": "spec",
    "batch_of": 1,
}


def test_only_a_header_of_sense_is_taken() -> None:
    assert Checkpoint.from_bytes(with_metadata(header=json.dumps(HEADER), state="{}")).step == 3
    deep = "[" * 100_000 + "]" * 100_000
    for header, state in (
        (json.dumps({**HEADER, "step": 1e999}), "{}"),
        (json.dumps({**HEADER, "format": "another"}), "{}"),
        (json.dumps(HEADER), "[]"),
        (json.dumps(HEADER), deep),
        (json.dumps(HEADER) + " " * 9 * 1024**2, "{}"),
    ):
        with pytest.raises(BadCheckpointError):
            Checkpoint.from_bytes(with_metadata(header=header, state=state))


def test_the_fingerprint_ignores_urls_and_nothing_else() -> None:
    def with_image(url: str, sha256: str) -> RenderSpec:
        image = SignedObject(key="k", get_url=url)
        return SPEC.model_copy(update={"conditioning": (Conditioning(image=image, sha256=sha256),)})

    assert request_fingerprint(with_image("a", "1")) == request_fingerprint(with_image("b", "1"))
    assert request_fingerprint(with_image("a", "1")) != request_fingerprint(with_image("a", "2"))
    assert request_fingerprint(SPEC) != request_fingerprint(SPEC.model_copy(update={"seed": 2}))


@pytest.mark.parametrize(
    "value",
    [
        torch.arange(24, dtype=torch.float32).reshape(2, 3, 4),
        torch.arange(24, dtype=torch.float32).reshape(2, 3, 4).permute(2, 0, 1),
        torch.randn(5).to(torch.bfloat16),
        torch.tensor(3.25),
        torch.tensor([], dtype=torch.int64),
        torch.ones(1, 3).expand(4, 3),
    ],
)
def test_tensors_come_back_with_bits_and_layout(value: torch.Tensor) -> None:
    arrays: Arrays = {}
    back = unpack(pack(value, "value", arrays), arrays)
    assert back.dtype == value.dtype
    assert torch.equal(back, value)
    if 0 not in value.stride():
        # A kernel sums in another order where the layout differs, so the layout is part of the state.
        assert back.stride() == value.stride()


def tensor(**changes: Json) -> Json:
    """Six packed numbers, changed."""
    packed = pack(torch.arange(6, dtype=torch.float32).reshape(2, 3), "value", {})
    assert isinstance(packed, dict)
    return {**packed, **changes}


def nested(depth: int) -> Json:
    packed: Json = {"plain": 1}
    for _ in range(depth):
        packed = {"list": [packed]}
    return packed


@pytest.mark.parametrize(
    "packed",
    [
        tensor(shape=[2**40, 0], stride=[1, 1]),
        tensor(shape=[2**40], stride=[0]),
        tensor(shape=[-2, -3]),
        tensor(stride=[2**36, 1]),
        tensor(stride=[1]),
        tensor(dtype="load"),
        tensor(dtype="float64"),
        tensor(device="nowhere"),
        tensor(tensor="another"),
        {"list": [tensor()] * 2},
        {"plain": [1]},
        {"list": 7},
        {},
        7,
        nested(5000),
    ],
)
def test_what_another_host_wrote_takes_no_more_room_than_its_bytes(packed: Json) -> None:
    with pytest.raises(BadStateError):
        unpack(packed, {"value": np.arange(6, dtype=np.float32).view(np.uint8)})


def test_a_solver_history_comes_back() -> None:
    arrays: Arrays = {}
    history = [None, torch.ones(2), (1, "two", np.float64(0.5)), np.arange(3)]
    back = unpack(pack(history, "history", arrays), arrays)
    assert back[0] is None
    assert torch.equal(back[1], torch.ones(2))
    assert back[2] == (1, "two", 0.5)
    assert np.array_equal(back[3], np.arange(3))


def test_state_that_cannot_be_kept_says_so() -> None:
    with pytest.raises(UnknownStateError):
        pack(object(), "noise_sampler", {})
