"""Creators are offered what workers serve: in the list of models, in the composer, and when a job is sent."""

from dataclasses import replace
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import text

from backend.api.app import create_app
from backend.auth.principal import Principal
from backend.clock import FakeClock
from backend.db.engine import Database
from backend.domain.errors import InvalidField
from backend.served_recipes import FRESH_S, ServedRecipes
from backend.services.create_api_key import create_api_key_for
from backend.services.create_user import create_user
from backend.services.generation_request import ConditioningRequest, GenerationRequest
from backend.services.offered_models import offered_models
from backend.services.quote_generation import quote_generation
from backend.services.submit_generation import submit_generation
from backend.studio import Studio
from backend.web_process import WebProcess
from frontend.studio_gateway import StudioGateway
from frontend.views import AccountView
from tests.integration.life_rig import make_creator

WAN = GenerationRequest(prompt="a cat on a wall", model="wan-2.1-1.3b")
ANY = GenerationRequest(prompt="a cat on a wall")


@pytest.fixture
async def creator(studio: Studio) -> Principal:
    return await make_creator(studio, credits=1000)


async def worker(db: Database, name: str, *recipes: str, silent_s: int = 0) -> None:
    """As a heartbeat would have left it, `silent_s` ago."""
    async with db.transaction() as session:
        await session.execute(
            text(
                "INSERT INTO workers (id, recipes, resident, memory_gb, heartbeat_at)"
                " VALUES (:id, :recipes, '{}', 24, now() - make_interval(secs => :silent_s))"
                " ON CONFLICT (id) DO UPDATE SET recipes = excluded.recipes, heartbeat_at = excluded.heartbeat_at"
            ),
            {"id": name, "recipes": list(recipes), "silent_s": silent_s},
        )


async def test_before_a_worker_was_heard_the_embedded_model_alone_is_offered(
    studio: Studio, creator: Principal
) -> None:
    assert list(await offered_models(studio)) == ["mini"]
    assert (await submit_generation(studio, creator, ANY)).model == "mini"


async def test_a_model_that_nobody_serves_is_refused_with_those_that_are(
    studio: Studio, creator: Principal, db: Database
) -> None:
    await worker(db, "cpu", "mini")
    for ask in (submit_generation, quote_generation):
        with pytest.raises(InvalidField) as refused:
            await ask(studio, creator, WAN)  # type: ignore[operator]  # either
        assert refused.value.param == "model"
        assert refused.value.message == (
            "No worker here serves Wan 2.1 1.3B (wan-2.1-1.3b) now. Models: mini."
        )
    with pytest.raises(InvalidField, match="There is no model 'sora-2' here"):
        await submit_generation(studio, creator, GenerationRequest(prompt="a cat", model="sora-2"))


async def test_a_model_that_a_worker_serves_can_be_sent_a_job(
    studio: Studio, creator: Principal, db: Database
) -> None:
    await worker(db, "cpu", "mini")
    await worker(db, "gpu", "wan-2.1-1.3b", "mini")
    assert list(await offered_models(studio)) == ["mini", "wan-2.1-1.3b"]
    job = await submit_generation(studio, creator, WAN)
    assert (job.model, job.seconds, job.num_frames) == ("wan-2.1-1.3b", "5", 81)
    assert (await submit_generation(studio, creator, ANY)).model == "mini"


async def test_where_the_embedded_model_is_not_served_another_is_the_default(
    studio: Studio, creator: Principal, db: Database
) -> None:
    await worker(db, "gpu", "wan-2.1-1.3b")
    assert (await submit_generation(studio, creator, ANY)).model == "wan-2.1-1.3b"
    assert (await submit_generation(studio, creator, replace(ANY, fps=16))).fps == 16
    with pytest.raises(InvalidField, match=r"Wan 2\.1 1\.3B makes 16 frames a second"):
        await submit_generation(studio, creator, replace(ANY, fps=8))


async def test_an_image_is_held_as_a_whole_where_the_model_knows_no_strength(
    studio: Studio, creator: Principal, db: Database
) -> None:
    await worker(db, "gpu", "wan-2.2-5b")
    half = GenerationRequest(
        prompt="a cat", model="wan-2.2-5b", conditioning=(ConditioningRequest(upload_id="x", strength=0.5),)
    )
    with pytest.raises(InvalidField, match="strength is 1") as refused:
        await submit_generation(studio, creator, half)
    assert refused.value.param == "strength"


async def test_the_list_of_models_and_the_composer_offer_the_same(studio: Studio, db: Database) -> None:
    await worker(db, "gpu", "wan-2.1-1.3b", "mini")
    await create_user(studio, email="someone@example.org", tier="pro")
    key = await create_api_key_for(studio, email="someone@example.org", scopes=("videos:read",))
    process = WebProcess(lambda: studio)
    transport = httpx.ASGITransport(app=create_app(process))
    async with httpx.AsyncClient(transport=transport, base_url="http://studio.test") as client:
        client.headers["authorization"] = f"Bearer {key}"
        listed = (await client.get("/v1/models")).json()["data"]
        served, unserved = [await client.get(f"/v1/models/{name}") for name in ("wan-2.1-1.3b", "ltx-0.9.5")]
    assert [model["id"] for model in listed] == ["mini", "wan-2.1-1.3b"]
    assert served.json()["sizes"] == ["832x480", "480x832"]
    assert unserved.status_code == 404
    composer = await StudioGateway(process).models(AccountView())
    assert [model.id for model in composer] == ["mini", "wan-2.1-1.3b"]


async def test_a_worker_that_is_started_again_takes_no_model_away(db: Database, studio: Studio) -> None:
    await worker(db, "cpu", "mini")
    await worker(db, "gpu", "wan-2.1-1.3b", silent_s=120)
    assert await studio.served.names() == {"mini", "wan-2.1-1.3b"}


async def test_a_worker_that_stays_away_takes_its_models_along(db: Database, studio: Studio) -> None:
    await worker(db, "cpu", "mini")
    await worker(db, "gpu", "wan-2.1-1.3b", silent_s=900)
    assert await studio.served.names() == {"mini"}


async def test_while_all_workers_are_away_jobs_wait_for_what_they_served(
    db: Database, studio: Studio
) -> None:
    await worker(db, "gpu", "wan-2.1-1.3b", silent_s=90_000)
    assert await studio.served.names() == {"wan-2.1-1.3b"}


async def test_the_fleet_is_asked_once_a_second_at_most(db: Database, studio: Studio) -> None:
    clock = FakeClock()
    served = ServedRecipes(db, clock)
    await worker(db, "cpu", "mini")
    assert await served.names() == {"mini"}
    await worker(db, "gpu", "wan-2.1-1.3b")
    assert await served.names() == {"mini"}
    clock.advance(timedelta(seconds=FRESH_S))
    assert await served.names() == {"mini", "wan-2.1-1.3b"}
