"""A job's attempts, seen by its owner over the API and on the clip's page."""

from collections.abc import AsyncIterator

import httpx
import pytest

from backend.api.app import create_app
from backend.auth.principal import Principal
from backend.contracts import Outcome
from backend.services.accept_report import accept_report
from backend.services.create_api_key import create_api_key
from backend.studio import Studio
from backend.web_process import WebProcess
from frontend.studio_gateway import StudioGateway
from frontend.views import AccountView
from tests.integration.life_rig import MessageWorker, make_creator, run_to_end, submit


@pytest.fixture
async def twice(studio: Studio) -> tuple[Principal, str]:
    """A clip whose first worker was shut down in order."""
    creator = await make_creator(studio)
    job = await submit(studio, creator)
    worker = MessageWorker(studio)
    first = await worker.take(job.id)
    await worker.step(first, 4)
    await accept_report(studio, worker.report(first, Outcome.HANDED_BACK))
    await run_to_end(studio, MessageWorker(studio, worker_id="w2"), job.id)
    return creator, job.id


@pytest.fixture
async def client(studio: Studio) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(WebProcess(lambda: studio))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app), base_url="http://studio.test"
    ) as made:
        yield made


async def _authorization(studio: Studio, principal: Principal) -> dict[str, str]:
    key = await create_api_key(
        studio, principal, name="test", scopes=["videos:read", "videos:write"], expires_in=None
    )
    return {"authorization": f"Bearer {key.secret}"}


async def test_an_owner_reads_the_attempts_over_the_api(
    studio: Studio, client: httpx.AsyncClient, twice: tuple[Principal, str]
) -> None:
    creator, job_id = twice
    answer = await client.get(f"/v1/videos/{job_id}/attempts", headers=await _authorization(studio, creator))
    assert answer.status_code == 200
    first, second = answer.json()["data"]
    assert (first["state"], first["cause"], first["steps_done"]) == ("handed_back", "handed_back", 4)
    assert (second["state"], second["cause"], second["moved"]) == ("done", None, True)
    assert "w1" not in answer.text


async def test_a_strangers_attempts_are_not_found(
    studio: Studio, client: httpx.AsyncClient, twice: tuple[Principal, str]
) -> None:
    stranger = await _authorization(studio, await make_creator(studio))
    answer = await client.get(f"/v1/videos/{twice[1]}/attempts", headers=stranger)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    assert (await client.get(f"/v1/videos/{twice[1]}/attempts")).status_code == 401


async def test_the_clips_page_tells_them_in_a_line(studio: Studio, twice: tuple[Principal, str]) -> None:
    creator, job_id = twice
    who = AccountView(
        id=creator.account_id,
        user_id=creator.user_id,
        role=creator.role.value,
        tier=creator.tier,
        signed_in=True,
    )
    clip = await StudioGateway(WebProcess(lambda: studio)).clip(who, job_id)
    assert clip is not None
    lines = {param.name: param.value for param in clip.params}
    assert lines["Attempts"] == ("The 1st: its worker was shut down at step 4. The 2nd: began again, made.")
