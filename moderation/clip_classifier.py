"""Zero-shot CLIP from a local folder in open_clip format, asked with the policy's prompts. Never uses a network."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from moderation import torch_shim as torch_shim  # isort: skip  # before open_clip, which imports torchvision

import open_clip
import torch
from PIL import Image

from moderation.policy import Policy

MINI_CLIP_DIR: Final = Path(__file__).parent / "weights" / "mini_clip"
BATCH_SIZE: Final = 32


class ClipClassifier:
    """A CLIP and its prompt set. Thread-safe once built; scores are softmax probabilities over the concepts."""

    def __init__(
        self,
        policy: Policy,
        *,
        folder: Path | str = MINI_CLIP_DIR,
        name: str = "mini_clip",
        device: str = "cpu",
        threads: int | None = None,
    ) -> None:
        """Load weights and encode the prompts that `policy` has for the classifier `name`.

        `threads` limits torch's CPU threads, process-wide. Raises FileNotFoundError where the folder holds no
        model, PolicyError where the policy has no prompts for it.
        """
        path = Path(folder)
        for required in ("open_clip_config.json", "open_clip_model.safetensors"):
            if not (path / required).is_file():
                raise FileNotFoundError(
                    f"{path / required} is missing: it must hold a model in open_clip format"
                )
        if threads is not None:
            torch.set_num_threads(threads)
        self._asked = policy.classifier(name)
        self._device = torch.device(device)
        model_id = f"local-dir:{path}"
        model, _train, preprocess = open_clip.create_model_and_transforms(
            model_id, device=device, precision="fp32", weights_only=True
        )
        self._model = model.eval().requires_grad_(False)
        self._preprocess = preprocess
        self._text = self._encode_prompts(open_clip.get_tokenizer(model_id))
        digest = hashlib.sha256((path / "open_clip_model.safetensors").read_bytes()).hexdigest()[:12]
        self._name, self._version = name, f"{name}/{digest}"

    @property
    def name(self) -> str:
        """The policy's name for this classifier."""
        return self._name

    @property
    def version(self) -> str:
        """Name and the start of the weights' sha256."""
        return self._version

    @torch.inference_mode()
    def score_images(self, images: Sequence[Image.Image]) -> list[dict[str, float]]:
        """Probabilities by concept label for each image."""
        scores: list[dict[str, float]] = []
        labels = [concept.label for concept in self._asked.concepts]
        for start in range(0, len(images), BATCH_SIZE):
            pixels = torch.stack([self._prepare(image) for image in images[start : start + BATCH_SIZE]])
            seen = self._model.encode_image(pixels.to(self._device), normalize=True)
            logits = self._model.logit_scale.exp() * seen @ self._text.T
            for row in logits.softmax(dim=1).cpu().tolist():
                scores.append(dict(zip(labels, row, strict=True)))
        return scores

    def _prepare(self, image: Image.Image) -> torch.Tensor:
        prepared = self._preprocess(image.convert("RGB"))
        assert isinstance(prepared, torch.Tensor)
        return prepared

    @torch.inference_mode()
    def _encode_prompts(self, tokenizer: open_clip.SimpleTokenizer) -> torch.Tensor:
        rows = []
        for concept in self._asked.concepts:
            each = self._model.encode_text(tokenizer(list(concept.prompts)).to(self._device), normalize=True)
            rows.append(torch.nn.functional.normalize(each.mean(dim=0), dim=0))
        return torch.stack(rows)
