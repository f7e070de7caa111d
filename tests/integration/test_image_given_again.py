"""The image of a clip: shown to who gave it and to nobody else, and part of the settings that made the clip."""

import io

import pytest
from PIL import Image

from backend.auth.principal import Principal
from backend.domain.errors import NotFound
from backend.services.accept_upload import UploadView, accept_upload
from backend.services.fetch_artifact import upload_url
from backend.services.generation_request import ConditioningRequest
from backend.studio import Studio
from backend.web_process import WebProcess
from frontend.studio_gateway import StudioGateway
from frontend.views import AccountView
from tests.integration.life_rig import make_creator, submit


@pytest.fixture
async def creator(studio: Studio) -> Principal:
    return await make_creator(studio)


async def _give(studio: Studio, creator: Principal) -> UploadView:
    out = io.BytesIO()
    Image.effect_noise((64, 64), 60).convert("RGB").save(out, "PNG")

    async def read() -> bytes:
        return out.getvalue()

    return await accept_upload(studio, creator, read)


async def test_an_image_is_shown_to_who_gave_it_and_to_nobody_else(
    studio: Studio, creator: Principal
) -> None:
    image = await _give(studio, creator)
    assert image.id in await upload_url(studio, creator, image.id)
    stranger = await make_creator(studio)
    with pytest.raises(NotFound):
        await upload_url(studio, stranger, image.id)


async def test_settings_and_parameters_of_a_clip_have_its_image_and_its_guidance(
    studio: Studio, creator: Principal
) -> None:
    image = await _give(studio, creator)
    job = await submit(
        studio, creator, guidance_scale=2.5, conditioning=(ConditioningRequest(upload_id=image.id),)
    )
    gateway = StudioGateway(WebProcess(lambda: studio))
    who = AccountView(
        id=creator.account_id,
        user_id=creator.user_id,
        role=creator.role.value,
        tier=creator.tier,
        email=creator.email or "",
        signed_in=True,
    )
    again = await gateway.vary(who, job.id, press="one")
    made_again = await gateway.clip(who, again.id)
    assert made_again is not None
    assert made_again.parent_id == job.id
    assert f"/uploads/{image.id}" in [param.picture_url for param in made_again.params]
    draft = await gateway.settings_of(who, job.id)
    assert draft is not None
    assert (draft.image_id, draft.guidance) == (image.id, "2.5")
    clip = await gateway.clip(who, job.id)
    assert clip is not None
    assert f"/uploads/{image.id}" in [param.picture_url for param in clip.params]
