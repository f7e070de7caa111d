"""Drafts: offered when the wait is long, made by consent alone, and never dearer or later than what was asked for."""

from dataclasses import dataclass

import pytest

from backend.recipes import CATALOGUE
from backend.services.generation_request import GenerationRequest
from backend.services.offer_draft import CLEARLY_SOONER, LONG_WAIT_S
from backend.services.quote_generation import quote_generation
from backend.studio import Studio
from tests.integration.life_rig import make_creator, submit

PROMPT = "a red circle"
STEPS = CATALOGUE["mini"].draft_steps
MANY = 40
"""Steps whose clip costs twice as much as its draft."""


@dataclass
class Leader:
    """Says how long a clip would take: what waits, and then its own work."""

    waits_s: float | None = None
    slower: float = 1.0

    async def answer(self, question: dict[str, object]) -> dict[str, object] | None:
        if question["ask"] != "wait" or self.waits_s is None:
            return None
        p50_s = self.waits_s + self.slower * float(str(question["gpu_s"]))
        return {"p50_s": p50_s, "p90_s": 2 * p50_s}


@pytest.fixture
def leader(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> Leader:
    made = Leader()
    monkeypatch.setattr(studio.wakeups, "ask_leader", made.answer)
    return made


async def test_a_long_wait_offers_fewer_steps_for_less(studio: Studio, leader: Leader) -> None:
    creator = await make_creator(studio)
    leader.waits_s = LONG_WAIT_S + 1
    quote = await quote_generation(
        studio, creator, GenerationRequest(prompt=PROMPT, seed=7, num_inference_steps=MANY)
    )
    assert quote.draft is not None
    assert quote.draft.request.num_inference_steps == STEPS
    assert quote.draft.request.quoted < quote.credits
    assert quote.p50_s is not None
    assert quote.draft.p50_s < quote.p50_s
    assert (quote.draft.request.seed, quote.draft.request.prompt) == (7, PROMPT)


async def test_a_draft_that_is_hardly_sooner_nor_much_cheaper_is_not_offered(
    studio: Studio, leader: Leader
) -> None:
    creator = await make_creator(studio)
    leader.waits_s = 2 * LONG_WAIT_S
    quote = await quote_generation(studio, creator, GenerationRequest(prompt=PROMPT, num_inference_steps=16))
    assert quote.draft is None


async def test_a_draft_that_is_much_sooner_is_offered_at_nearly_the_same_price(
    studio: Studio, leader: Leader
) -> None:
    creator = await make_creator(studio)
    leader.waits_s, leader.slower = 0.0, 10_000.0
    quote = await quote_generation(studio, creator, GenerationRequest(prompt=PROMPT, num_inference_steps=20))
    assert quote.draft is not None
    assert quote.p50_s is not None
    assert quote.draft.p50_s <= CLEARLY_SOONER * quote.p50_s
    assert quote.credits // 2 < quote.draft.request.quoted <= quote.credits


@pytest.mark.parametrize("waits_s", [None, 0.0, LONG_WAIT_S - 1])
async def test_no_draft_is_offered_or_made_while_the_wait_is_short_or_unknown(
    studio: Studio, leader: Leader, waits_s: float | None
) -> None:
    creator = await make_creator(studio)
    leader.waits_s = waits_s
    assert (await quote_generation(studio, creator, GenerationRequest(prompt=PROMPT))).draft is None
    job = await submit(studio, creator, draft_if_busy=True)
    assert job.num_inference_steps == CATALOGUE["mini"].steps.default


async def test_nobody_gets_a_draft_without_having_said_so(studio: Studio, leader: Leader) -> None:
    creator = await make_creator(studio)
    leader.waits_s = 10 * LONG_WAIT_S
    quote = await quote_generation(
        studio, creator, GenerationRequest(prompt=PROMPT, num_inference_steps=MANY)
    )
    full = await submit(studio, creator, num_inference_steps=MANY)
    assert full.num_inference_steps == MANY
    assert full.quoted == quote.credits
    assert quote.draft is not None
    draft = await submit(studio, creator, num_inference_steps=MANY, draft_if_busy=True)
    assert (draft.num_inference_steps, draft.quoted) == (STEPS, quote.draft.request.quoted)


async def test_who_asks_for_no_more_steps_than_a_draft_has_is_offered_none(
    studio: Studio, leader: Leader
) -> None:
    creator = await make_creator(studio)
    leader.waits_s = 10 * LONG_WAIT_S
    asked = GenerationRequest(prompt=PROMPT, num_inference_steps=STEPS)
    assert (await quote_generation(studio, creator, asked)).draft is None


async def test_a_repeated_request_gives_the_first_job_though_the_wait_has_changed(
    studio: Studio, leader: Leader
) -> None:
    from backend.services.submit_generation import submit_generation

    creator = await make_creator(studio)
    request = GenerationRequest(prompt=PROMPT, num_inference_steps=MANY, draft_if_busy=True)
    leader.waits_s = 10 * LONG_WAIT_S
    first = await submit_generation(studio, creator, request, idempotency_key="one")
    leader.waits_s = 0.0
    again = await submit_generation(studio, creator, request, idempotency_key="one")
    assert (again.id, again.num_inference_steps) == (first.id, STEPS)
