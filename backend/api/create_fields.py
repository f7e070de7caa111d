"""The fields of a create request, in whatever encoding they came: read for a job and for a quote alike."""

from backend.api.input_reference import FIELDS as IMAGE_FIELDS
from backend.api.input_reference import brings_image
from backend.api.parse_bodies import Fields
from backend.domain.errors import InvalidField
from backend.recipes import DEFAULT_RECIPE
from backend.services.generation_request import ConditioningRequest, GenerationRequest

_IF_BUSY = "if_busy"
CREATE_FIELDS = IMAGE_FIELDS | {
    "prompt",
    "negative_prompt",
    "model",
    "size",
    "seconds",
    "seed",
    "num_inference_steps",
    "guidance_scale",
    "strength",
    "fps",
    "n",
    "style",
    "draft",
}
_SCHEMA = {
    "type": "object",
    "required": ["prompt"],
    "properties": {
        "prompt": {"type": "string", "example": "a red circle moving right on a blue background"},
        "model": {"type": "string", "example": DEFAULT_RECIPE},
        "seconds": {"type": "string", "example": "2"},
        "size": {"type": "string", "example": "288x288"},
        "input_reference": {"type": "string", "format": "binary"},
        "negative_prompt": {"type": "string"},
        "seed": {"type": "integer", "example": 7},
        "num_inference_steps": {"type": "integer"},
        "guidance_scale": {"type": "number"},
        "strength": {
            "type": "number",
            "minimum": 0,
            "maximum": 1,
            "description": "How much the image counts. Refused without an image.",
        },
        "fps": {"type": "integer", "description": "The model's own; any other is refused."},
        "n": {
            "type": "integer",
            "enum": [1],
            "description": "One request makes one clip; any other is refused.",
        },
        "draft": {
            "type": "string",
            "enum": [_IF_BUSY],
            "description": "Consent to a draft: fewer steps for less, if the wait is long when this arrives.",
        },
        "style": {"type": "string", "maxLength": 0, "description": "Refused: no model here has styles."},
    },
}
CREATE_DOCS = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": _SCHEMA},
            "application/json": {
                "schema": {
                    **_SCHEMA,
                    "properties": {
                        **_SCHEMA["properties"],  # type: ignore[dict-item]  # a dict, as written above
                        "input_reference": {
                            "type": "object",
                            "properties": {"image_url": {"type": "string"}, "file_id": {"type": "string"}},
                        },
                    },
                }
            },
        },
    }
}


def request_of(fields: Fields, upload_id: str | None) -> GenerationRequest:
    """What the fields ask for. Raises `InvalidField` for what can be seen here; the rest is the recipe's to say."""
    if (count := fields.integer("n")) is not None and count != 1:
        raise InvalidField("n is 1: one request makes one clip.", param="n")
    if fields.text("style") is not None:
        raise InvalidField("No model here has styles; say it in the prompt.", param="style")
    if (draft := fields.text("draft")) not in (None, _IF_BUSY):
        raise InvalidField(f"draft is {_IF_BUSY!r}, or left out.", param="draft")
    strength = fields.number("strength")
    if strength is not None and not brings_image(fields):
        raise InvalidField(
            "strength says how much the image counts, and there is none: send input_reference too.",
            param="strength",
        )
    if strength is not None and not 0 <= strength <= 1:
        raise InvalidField(f"strength is from 0 to 1, not {strength:g}.", param="strength")
    image = (
        ConditioningRequest(upload_id=upload_id, strength=1.0 if strength is None else strength)
        if upload_id
        else None
    )
    return GenerationRequest(
        prompt=fields.words("prompt"),
        negative_prompt=fields.words("negative_prompt"),
        model=fields.text("model"),
        size=fields.text("size"),
        seconds=fields.text("seconds"),
        fps=fields.integer("fps"),
        seed=fields.integer("seed"),
        num_inference_steps=fields.integer("num_inference_steps"),
        guidance_scale=fields.number("guidance_scale"),
        draft_if_busy=draft == _IF_BUSY,
        conditioning=(image,) if image else (),
    )
