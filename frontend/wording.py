"""How the studio says things: from the use cases' values to the words and pictures' addresses that pages show. Pure."""

from collections.abc import Iterator
from datetime import datetime
from math import ceil

from backend.domain.generation import ON_WORKER, InputVerdict, JobEvent, JobState, can
from backend.domain.review import CaseState
from backend.recipes import CATALOGUE, Capability, Recipe, has_small_world, mini_world
from backend.services.create_api_key import KeyView as Key
from backend.services.job_view import JobView as Job
from backend.services.job_view import PlaceView as Place
from backend.services.list_ledger import LedgerLine
from backend.services.offer_draft import DraftOffer
from backend.services.quote_generation import Quote
from backend.services.review_cases import CaseView as Case
from frontend.views import (
    CaseView,
    ChoiceView,
    ClipView,
    JobView,
    KeyView,
    LedgerView,
    ModelView,
    ParamView,
    QuoteView,
    ScoreView,
    SizeView,
    WordGroup,
    WordView,
)
from moderation.policy import default_policy
from moderation.verdict import CLASSIFIER_ERROR

_LITTLE_FRAME_PX = 18
_MOST_UNKNOWN_WORDS = 8
NOT_CHARGED = "You were not charged."

_SAVING = "Saving the clip"
_PHASES = {
    "loading": "Loading the model",
    "encoding_text": "Reading the prompt",
    "decoding": "Developing the frames",
    "uploading": _SAVING,
    "reported": _SAVING,
}
_STATE_LABELS = {
    JobState.COMPLETED: "Ready",
    JobState.FAILED: "Failed",
    JobState.BLOCKED: "Not allowed here",
    JobState.CANCELLED: "Cancelled",
    JobState.IN_REVIEW: "Waits for a moderator",
}
_LEDGER_REASONS = {
    "completed": "A clip",
    "cancelled": "A clip that was cancelled",
    "expired": "Credits expired",
    "grant:monthly": "Monthly credits",
    "grant:purchase": "Credits bought",
    "grant:promotion": "A gift",
    "grant:admin": "Credits granted",
    "debt_paid": "Paid off what was owed",
    "money_returned": "Taken back: the payment was refunded",
    "money_kept": "Given again: the payment stands",
}
_SCOPES = {
    ("videos:read",): "read only",
    ("videos:read", "videos:write"): "make and read",
    ("videos:write",): "make only",
}


def credits(amount: int) -> str:
    """ "1 credit", "12 credits"."""
    return "1 credit" if amount == 1 else f"{amount:,} credits"


def duration(seconds: float) -> str:
    """A wait to reckon with, rounded up: "4 s", "40 s", "3 min", "2 h"."""
    if seconds < 20:
        return f"{max(1, ceil(seconds))} s"
    if seconds < 90:
        return f"{ceil(seconds / 5) * 5} s"
    if seconds < 5400:
        return f"{ceil(seconds / 60)} min"
    return f"{ceil(seconds / 3600)} h"


def wait(p50_s: float | None, p90_s: float | None) -> str:
    """ "about 4 s", "about 40 to 70 s"; nothing while nobody knows."""
    if p50_s is None:
        return ""
    low, high = duration(p50_s), duration(max(p50_s, p90_s or 0.0))
    if low == high or (p90_s or 0.0) < 1.4 * p50_s:
        return f"about {low}"
    same_unit = low.split()[1] == high.split()[1]
    return f"about {low.split()[0] if same_unit else low} to {high}"


def ordinal(number: int) -> str:
    """ "1st", "2nd", "11th"."""
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number:,}{ending}"


def _title(recipe: str) -> str:
    found = CATALOGUE.get(recipe)
    return found.title if found else recipe


def model_view(recipe: Recipe) -> ModelView:
    """A recipe as the composer offers it."""
    longest = max(max(size.width, size.height) for size in recipe.sizes)
    small = has_small_world(recipe.name)
    return ModelView(
        id=recipe.name,
        title=recipe.title,
        summary=recipe.summary,
        knows=_KNOWS_SHAPES.format(title=recipe.title) if small else recipe.knows or recipe.summary,
        small=small,
        sentence=_SENTENCE if small else "",
        words=_vocabulary() if small else [],
        examples=list(recipe.examples),
        sizes=[
            SizeView(
                value=str(size),
                label=f"{size.width} × {size.height}",
                frame_w=max(6, round(size.width / longest * _LITTLE_FRAME_PX)),
                frame_h=max(6, round(size.height / longest * _LITTLE_FRAME_PX)),
            )
            for size in recipe.sizes
        ],
        lengths=[ChoiceView(value=length.seconds, label=f"{length.seconds} s") for length in recipe.lengths],
        steps_low=int(recipe.steps.low),
        steps_high=int(recipe.steps.high),
        steps_default=int(recipe.steps.default),
        guidance_low=f"{recipe.guidance.low:g}",
        guidance_high=f"{recipe.guidance.high:g}",
        guidance_default=f"{recipe.guidance.default:g}",
        takes_image=Capability.IMAGE in recipe.capabilities,
        takes_negative_prompt=Capability.NEGATIVE_PROMPT in recipe.capabilities,
        max_prompt_chars=recipe.max_prompt_chars,
    )


_KNOWS_SHAPES = "{title} knows one small world: one shape in one colour that moves over a plain background."
_SENTENCE = "a [size] [colour] [shape=shape]|[motion]|on a [background] background"


def _vocabulary() -> list[WordGroup]:
    colours = [
        WordView(value=colour.name, colour="#{:02x}{:02x}{:02x}".format(*colour.rgb))
        for colour in mini_world.COLOURS
    ]
    return [
        WordGroup(
            slot="shape", label="Shape", words=[WordView(value=shape.name) for shape in mini_world.SHAPES]
        ),
        WordGroup(slot="colour", label="Colour", words=colours),
        WordGroup(
            slot="motion",
            label="Motion",
            words=[WordView(value=motion.phrases[0]) for motion in mini_world.MOTIONS],
        ),
        WordGroup(slot="background", label="Background", words=colours),
        WordGroup(slot="size", label="Size", words=[WordView(value=size.name) for size in mini_world.SIZES]),
    ]


def unknown_words(model: str, prompt: str) -> str:
    """What a model with a small vocabulary leaves out of a prompt, as a sentence; empty where nothing is lost."""
    recipe = CATALOGUE.get(model)
    if recipe is None or not has_small_world(recipe.name):
        return ""
    unknown = mini_world.read_prompt(prompt).unknown_words
    if not unknown:
        return ""
    more = len(unknown) - _MOST_UNKNOWN_WORDS
    listed = ", ".join(unknown[:_MOST_UNKNOWN_WORDS]) + (f" and {more} more" if more > 0 else "")
    return f"{recipe.title} doesn’t know: {listed}. It leaves {'it' if len(unknown) == 1 else 'them'} out."


def quote_view(quote: Quote) -> QuoteView:
    """Price and wait at the button."""
    left = wait(quote.p50_s, quote.p90_s)
    affordable = quote.credits <= quote.available
    return QuoteView(
        credits=quote.credits,
        wait=f"ready in {left}" if left else "",
        known=True,
        affordable=affordable,
        note=""
        if affordable
        else f"This costs {credits(quote.credits)} and you have {quote.available:,}. Fewer steps cost less.",
        quicker=_quicker(quote.draft) if quote.draft else "",
        quicker_steps=quote.draft.request.num_inference_steps if quote.draft else 0,
    )


def _quicker(draft: DraftOffer) -> str:
    steps, price = draft.request.num_inference_steps, credits(draft.request.quoted)
    return f"The wait is long. A draft in {steps} steps costs {price} and is ready in {wait(draft.p50_s, draft.p90_s)}."


def job_view(job: Job, *, runs_it: bool = False) -> JobView:
    """A job as a strip. `runs_it`: read by somebody who runs the studio, who can bring a worker back."""
    headline, detail = _where_it_stands(job, runs_it=runs_it)
    stop_cost = _stop_cost(job)
    return JobView(
        id=job.id,
        prompt=job.prompt,
        model=_title(job.model),
        state=job.state.value,
        facts=f"{_title(job.model)}, {job.width} × {job.height}, {job.seconds} s",
        headline=headline,
        detail=_sentence_case(detail),
        short=_why_ended(job),
        charge=_charge(job),
        stop_cost=stop_cost,
        stop_steps=job.stop_steps,
        aspect=f"{job.width} / {job.height}",
        grow=round(job.width / max(1, job.height), 4),
        at_work=job.state in ON_WORKER or job.state in (JobState.MODERATING, JobState.APPROVED),
        in_review=is_in_review(job),
        step=job.steps_done,
        steps=job.num_inference_steps,
        percent=job.progress,
        created_at=_iso(job.created_at),
        preview_url=f"/media/{job.id}/preview?v={job.preview}" if job.preview and not job.ended else "",
        ended=job.ended,
        went_wrong=job.state in (JobState.FAILED, JobState.BLOCKED),
        # Rendered already: there is nothing left to stop.
        can_cancel=can(job.state, JobEvent.CANCELLED) and not _is_being_saved(job),
        can_retry=job.state in (JobState.FAILED, JobState.CANCELLED),
    )


def _where_it_stands(job: Job, *, runs_it: bool = False) -> tuple[str, str]:
    left = wait(job.place.p50_s, job.place.p90_s) if job.place else ""
    match job.state:
        case JobState.QUEUED if job.input_verdict is InputVerdict.REVIEW:
            return "Waits for a moderator", "They decide about the request. Nothing is charged before."
        case JobState.QUEUED if job.input_verdict is InputVerdict.PENDING:
            return "Checking the request", ""
        case JobState.QUEUED if _no_worker(job.place):
            return "Waiting for a worker", _until_one_is_back(job, runs_it=runs_it)
        case JobState.QUEUED:
            # It names the model by its id; people know the title.
            reason = job.place.reason.replace(job.model, _title(job.model)) if job.place else ""
            ready = f"ready in {left}" if left else ""
            return _place(job.place, resumed=job.steps_done > 0), _join(ready, reason)
        case state if state in ON_WORKER:
            # Before it has a pace of its own, also after it was stopped and goes on, nobody knows.
            return _at_work(job), f"{left} left" if left and job.place and job.place.paced else ""
        case JobState.MODERATING:
            return "Checking the clip", ""
        case JobState.IN_REVIEW:
            return "Waits for a moderator", "It shows as soon as they allow it. Nothing is charged before."
        case JobState.APPROVED:
            return "Publishing it", ""
        case JobState.BLOCKED:
            return "Not allowed here", job.error_message or "This studio's rules don't allow it."
        case JobState.FAILED:
            return "Failed", job.error_message or "This is on us."
        case JobState.CANCELLED:
            return "Cancelled", ""
        case _:
            return "Ready", ""


def _why_ended(job: Job) -> str:
    """Why there is no clip, and what it cost, in one short line."""
    match job.state:
        case JobState.BLOCKED:
            why = f"Not allowed here: {_clause(job.clause)}" if job.clause else "Not allowed here"
        case JobState.FAILED:
            why = "Failed"
        case JobState.CANCELLED:
            why = "Cancelled"
        case _:
            return ""
    return f"{why}, {credits(job.charged)} charged" if job.charged else f"{why}, not charged"


def _no_worker(place: Place | None) -> bool:
    """Whether no live worker can run the job."""
    return place is not None and place.position is None and bool(place.reason)


def _until_one_is_back(job: Job, *, runs_it: bool) -> str:
    model = _title(job.model)
    if not runs_it:
        return f"No machine that runs {model} is there just now. It starts when one is back; nothing is charged before."
    why = _sentence_case(job.place.reason.replace(job.model, model)) if job.place else ""
    return f"{why}. Start one that can: zoetrope doctor on its host says what it lacks."


def _place(place: Place | None, *, resumed: bool) -> str:
    if place is None or place.position is None:
        return "Waiting to go on" if resumed else "In the queue"
    if place.position <= 1:
        return "Next in line"
    return f"{ordinal(place.position)} of {place.of:,}"


def _at_work(job: Job) -> str:
    if job.phase in _PHASES:
        return _PHASES[job.phase]
    if job.steps_done:
        return f"Step {job.steps_done} of {job.num_inference_steps}"
    return "Starting"


def _is_being_saved(job: Job) -> bool:
    return job.state in ON_WORKER and _PHASES.get(job.phase) == _SAVING


def _join(*parts: str) -> str:
    return ", ".join(part for part in parts if part)


def _sentence_case(text: str) -> str:
    return text[:1].upper() + text[1:]


def _charge(job: Job) -> str:
    if not job.ended:
        return ""
    if not job.charged:
        return "" if NOT_CHARGED in (job.error_message or "") else NOT_CHARGED
    return f"You paid {credits(job.charged)}."


def _stop_cost(job: Job) -> str:
    if not job.stop_cost:
        return ""
    steps = f"{job.stop_steps} of {job.num_inference_steps} steps are done."
    price = f"You pay {job.stop_cost} of {credits(job.quoted)} for them."
    return f"{steps} {price} Once it is rendered it can't be cancelled."


def is_in_review(job: Job) -> bool:
    """Whether a person is to decide about it."""
    return job.state is JobState.IN_REVIEW or (
        job.state is JobState.QUEUED and job.input_verdict is InputVerdict.REVIEW
    )


def clip_view(job: Job, *, with_parameters: bool = False, image_id: str = "") -> ClipView:
    """A clip on the wall or on its page. `image_id`: the upload that it begins with."""
    shown = job.state is JobState.COMPLETED and job.released
    gone = job.state is JobState.COMPLETED and not shown
    label = _STATE_LABELS.get(job.state, "On its way")
    if gone:
        label = "Taken down"
    headline, detail = _where_it_stands(job)
    return ClipView(
        id=job.id,
        prompt=job.prompt,
        state="taken_down" if gone else job.state.value,
        state_label=label,
        state_detail=_sentences("" if headline == label else headline, detail, _charge(job)),
        shown=shown,
        under_way=not job.ended,
        aspect=f"{job.width} / {job.height}",
        grow=round(job.width / max(1, job.height), 4),
        poster_url=f"/media/{job.id}/thumbnail" if shown else "",
        video_url=f"/media/{job.id}/video" if shown else "",
        download_url=f"/media/{job.id}/video?download=true" if shown else "",
        seconds=f"{job.seconds} s",
        fps=job.fps,
        num_frames=job.num_frames,
        model=_title(job.model),
        created_at=_iso(job.created_at),
        favourite=job.favourite,
        rating=job.rating,
        settings_url=f"/?from={job.id}",
        in_full_url=f"/?from={job.id}&in=full" if shown and _is_draft(job) else "",
        parent_id=job.parent_id or "",
        params=list(_parameters(job, image_id)) if with_parameters else [],
    )


def _is_draft(job: Job) -> bool:
    recipe = CATALOGUE.get(job.model)
    return (
        recipe is not None
        and recipe.draft_steps is not None
        and job.num_inference_steps <= recipe.draft_steps
    )


def _sentences(*parts: str) -> str:
    return " ".join(part if part.endswith((".", "!", "?")) else f"{part}." for part in parts if part)


def _parameters(job: Job, image_id: str) -> Iterator[ParamView]:
    if job.negative_prompt:
        yield ParamView(name="Without", value=job.negative_prompt, long=True)
    yield ParamView(name="Model", value=_title(job.model), raw=job.model)
    yield ParamView(name="Size", value=f"{job.width} × {job.height}", raw=job.size)
    yield ParamView(name="Length", value=f"{job.seconds} s, {job.num_frames} frames at {job.fps} fps")
    yield ParamView(name="Seed", value=str(job.seed), mono=True)
    yield ParamView(name="Steps", value=str(job.num_inference_steps), mono=True)
    yield ParamView(name="Guidance", value=f"{job.guidance_scale:g}", mono=True)
    if image_id:
        yield ParamView(
            name="First frame", value="The image it begins with", picture_url=f"/uploads/{image_id}"
        )
    yield ParamView(name="Clip id", value=job.id, mono=True, long=True)


def ledger_view(line: LedgerLine) -> LedgerView:
    """A line of the ledger."""
    return LedgerView(
        id=str(line.id),
        at=_iso(line.at),
        what=line.prompt or _LEDGER_REASONS.get(line.reason, line.reason.capitalize()),
        amount=f"{'+' if line.amount > 0 else '−'}{abs(line.amount):,}",
        balance=f"{line.balance:,}",
        incoming=line.amount > 0,
        job_id=line.job_id if line.job_id and line.prompt else "",
    )


def key_view(key: Key, *, now: datetime) -> KeyView:
    """An API key's row."""
    ended = key.expires_at is not None and key.expires_at <= now
    return KeyView(
        id=key.id,
        name=key.name,
        hint=key.hint,
        scopes=_SCOPES.get(tuple(sorted(key.scopes)), ", ".join(sorted(key.scopes))),
        created_at=_iso(key.created_at),
        expires_at=_iso(key.expires_at),
        last_used_at=_iso(key.last_used_at),
        live=not ended and key.revoked_at is None,
        state_label="Revoked" if key.revoked_at else "Ended" if ended else "Live",
    )


def is_open(case: Case) -> bool:
    """Whether a case still waits for somebody."""
    return case.state == CaseState.OPEN.value


def case_view(case: Case, *, with_evidence: bool = False, fps: int = 0) -> CaseView:
    """A review case, in the queue or (`with_evidence`) on the table."""
    images = [f"/evidence/{case.id}/{upload}" for upload in case.upload_ids]
    thumbnail = f"/evidence/{case.id}/thumbnail" if "thumbnail" in case.artifact_kinds else ""
    return CaseView(
        id=case.id,
        subject="Clip" if case.stage == "output" else "Request",
        reason=_clause(case.clause or "unclear"),
        prompt=_join_prompts(case),
        waiting_since=_iso(case.opened_at),
        model=_title(case.model),
        video_url=f"/evidence/{case.id}/video" if with_evidence and "video" in case.artifact_kinds else "",
        # Evidence is open only to whoever has the case in hand.
        poster_url=(thumbnail or next(iter(images), "")) if with_evidence else "",
        images=images if with_evidence else [],
        fps=fps,
        scores=list(_scores(case)) if with_evidence else [],
        job_id=case.job_id,
    )


def _join_prompts(case: Case) -> str:
    return f"{case.prompt}, without: {case.negative_prompt}" if case.negative_prompt else case.prompt


_SURFACES = {
    "prompt": "Prompt",
    "negative_prompt": "What it leaves out",
    "image": "Image that was given",
    "video": "Clip",
    "thumbnail": "Thumbnail",
    "spritesheet": "Spritesheet",
}


def _scores(case: Case) -> Iterator[ScoreView]:
    """The findings of all rulings, each once: every artifact of a clip carries the ruling on the whole of it."""
    seen: set[ScoreView] = set()
    for ruling in case.findings:
        found = ruling.get("findings")
        for finding in found if isinstance(found, list) else []:
            score = _score(finding) if isinstance(finding, dict) else None
            if score is not None and score not in seen:
                seen.add(score)
                yield score


def _score(finding: dict[str, object]) -> ScoreView | None:
    at_s, score, threshold = finding.get("at_s"), finding.get("score"), finding.get("threshold")
    if not isinstance(score, int | float) or not isinstance(threshold, int | float):
        return None
    surface = str(finding.get("surface", ""))
    where = _SURFACES.get(surface, surface.replace("_", " ").capitalize())
    timed = isinstance(at_s, int | float)
    return ScoreView(
        what=_clause(str(finding.get("clause", ""))),
        where=f"{where} at {at_s:.2f} s" if timed else where,
        at_s=f"{at_s:.3f}" if timed else "",
        percent=_percent(score),
        threshold=_percent(threshold),
        over=score >= threshold,
    )


def _clause(name: str) -> str:
    """A clause by its title in the policy in force; an older one by its name."""
    if name == CLASSIFIER_ERROR:
        return "Could not be judged"
    known = default_policy().clauses.get(name)
    return known.title if known else name.replace("_", " ").capitalize()


def _percent(share: float) -> int:
    return round(100 * min(1.0, max(0.0, share)))


def _iso(moment: datetime | None) -> str:
    return "" if moment is None else moment.isoformat()
