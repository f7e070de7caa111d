"""What the control plane asks of a worker: one attempt at one generation job."""

from pydantic import Field

from backend.contracts.message import Envelope, Message

PREVIEW_SIDE_PX = 6
"""The longer side of a preview picture, which is shown before any verdict: colours and motion, and no form.

Measured with the mini CLIP on drawn frames: bad glyphs and harmless shapes are told apart with an area under the ROC
curve of .998 at full size, .973 at 16 px, .623 at 8 px and .502 (chance) at 6 px; see `docs/moderation.md`.
"""
MAX_PREVIEW_BYTES = 4 * 1024
MAX_REPORT_BYTES = 256 * 1024
MAX_PICTURE_BYTES = 32 * 2**20
"""Of a thumbnail or a spritesheet."""
MAX_CLIP_BYTES = 2 * 2**30
MAX_CHECKPOINT_BYTES = 2**30
"""The largest known is 80 MiB (Wan 2.2 5B, 121 frames, UniPC)."""


class SignedObject(Message):
    """One object in storage that the worker may read (`get_url`) or write (`put_url`), until the URL ends."""

    key: str
    get_url: str | None = None
    put_url: str | None = None
    put_headers: dict[str, str] = Field(default_factory=dict)


class Conditioning(Message):
    """An image given by the creator, held at `frame_index` of the clip (-1: the last frame)."""

    image: SignedObject
    sha256: str
    frame_index: int = 0
    strength: float = 1.0


class RenderSpec(Message):
    """All that decides the pixels: a recipe's inputs, in its own units."""

    prompt: str
    negative_prompt: str = ""
    width: int
    height: int
    num_frames: int
    fps: int
    num_inference_steps: int
    guidance_scale: float
    seed: int
    conditioning: tuple[Conditioning, ...] = ()


class ResumeFrom(Message):
    """A checkpoint to go on from. A worker whose identity differs from `identity` starts again at step 0."""

    checkpoint: SignedObject
    sha256: str
    step: int
    identity: str


class OrderObjects(Message):
    """Where this attempt writes. Every key holds the fence, so a stale worker overwrites nobody."""

    clip: SignedObject
    thumbnail: SignedObject
    spritesheet: SignedObject
    preview: SignedObject
    report: SignedObject
    checkpoint_a: SignedObject
    checkpoint_b: SignedObject


class Batch(Message):
    """What orders that may share one pass of the model have in common. `size`: how many of them were made."""

    id: str
    size: int = Field(ge=1)


class Order(Envelope):
    """One attempt, addressed to one worker. Sent again until a heartbeat of that worker names `attempt_id`.

    `saves_memory`: run with the recipe's switches that save memory, since a worker had too little. `batch`: the worker
    waits a moment for the others that name it; each member is carried out, reported and stopped for itself.
    """

    attempt_id: str
    job_id: str
    fence: int
    worker_id: str
    recipe: str
    recipe_revision: str
    spec: RenderSpec
    objects: OrderObjects
    resume: ResumeFrom | None = None
    checkpoint_every_s: float
    preview_every_s: float = 0.5
    saves_memory: bool = False
    batch: Batch | None = None
    trace_id: str = ""
