"""What pages show: plain, display-ready values. The gateway makes them; components read them.

Times are ISO 8601 strings in UTC (the browser says "3 min ago"); addresses are paths of
this studio that ask each time who may see.
"""

from dataclasses import dataclass, field

from frontend.money_views import ReceiptView


@dataclass(frozen=True, kw_only=True)
class AccountView:
    """Who is asking, and what they may do. The empty one is nobody."""

    id: str = ""
    user_id: str = ""
    role: str = ""
    email: str = ""
    tier: str = ""
    credits: int = 0
    credits_label: str = ""
    held_credits: int = 0
    may_moderate: bool = False
    has_password: bool = True
    signed_in: bool = False


@dataclass(frozen=True, kw_only=True)
class DoorView:
    """What a visitor may know before signing in: who may sign up here, and whether mail reaches them.

    `signup`: open, invitation or closed. `invitation`: good, or ended for a code that does not work any more.
    """

    signup: str = ""
    sends_mail: bool = False
    place: str = ""
    invitation: str = ""
    invited_email: str = ""
    invited_tier: str = ""


@dataclass(frozen=True, kw_only=True)
class SizeView:
    """A size on offer. `frame_w` and `frame_h` draw it as a little frame, at most 18 px."""

    value: str
    label: str
    frame_w: int
    frame_h: int


@dataclass(frozen=True, kw_only=True)
class ChoiceView:
    """One choice of a small set."""

    value: str
    label: str


@dataclass(frozen=True, kw_only=True)
class WordView:
    """A word that a model knows. `colour` (`#rrggbb`) where it names one."""

    value: str
    colour: str = ""


@dataclass(frozen=True, kw_only=True)
class WordGroup:
    """Words of one kind, of which a prompt takes one. `slot` names their place in the model's sentence."""

    slot: str
    label: str
    words: list[WordView]


@dataclass(frozen=True, kw_only=True)
class ModelView:
    """A model as the composer offers it.

    A model with a small vocabulary lists it in `words`; `sentence` says how they make a prompt: segments parted by `|`,
    each with slots in brackets (`[shape=thing]` has a default), left out when all of its slots are empty.
    """

    id: str = ""
    title: str = ""
    summary: str = ""
    knows: str = ""
    small: bool = False
    sentence: str = ""
    words: list[WordGroup] = field(default_factory=list)
    examples: list[str] = field(default_factory=list)
    sizes: list[SizeView] = field(default_factory=list)
    lengths: list[ChoiceView] = field(default_factory=list)
    steps_low: int = 1
    steps_high: int = 1
    steps_default: int = 1
    guidance_low: str = ""
    guidance_high: str = ""
    guidance_default: str = ""
    takes_image: bool = False
    takes_negative_prompt: bool = False
    max_prompt_chars: int = 2000
    available: bool = True


@dataclass(frozen=True, kw_only=True)
class Draft:
    """What the composer sends: the fields of one generation job, as typed. Parsed by the service."""

    prompt: str
    model: str
    size: str
    seconds: str
    steps: str = ""
    seed: str = ""
    guidance: str = ""
    negative_prompt: str = ""
    image_id: str = ""
    idempotency_key: str = ""


@dataclass(frozen=True, kw_only=True)
class QuoteView:
    """Price and wait of what is composed, before it is sent.

    `quicker` says what the same clip in `quicker_steps` would be, when the wait is long; else it is empty.
    """

    credits: int = 0
    wait: str = ""
    known: bool = False
    affordable: bool = True
    note: str = ""
    again_at: str = ""
    quicker: str = ""
    quicker_steps: int = 0


@dataclass(frozen=True, kw_only=True)
class JobView:
    """A generation job on its way, or just ended.

    `at_work`: a worker has it, or its clip is on the last yards. `in_review`: a moderator has to decide, so nothing
    moves by itself. `short` says in a few words why it ended without a clip. `stop_cost` speaks of `stop_steps`.
    """

    id: str
    prompt: str
    model: str
    state: str
    facts: str
    headline: str
    detail: str = ""
    short: str = ""
    charge: str = ""
    stop_cost: str = ""
    stop_steps: int = 0
    aspect: str = "1 / 1"
    grow: float = 1.0
    at_work: bool = False
    in_review: bool = False
    step: int = 0
    steps: int = 0
    percent: int = 0
    created_at: str = ""
    preview_url: str = ""
    ended: bool = False
    went_wrong: bool = False
    can_cancel: bool = False
    can_retry: bool = False


@dataclass(frozen=True, kw_only=True)
class ParamView:
    """One parameter of a clip: its name, its value, and whether it is a machine's value (set in mono).

    `raw`: what a program would write for it, where that is not `value`; it is what is copied. `picture_url`: it is a
    picture, and `value` says what of.
    """

    name: str
    value: str
    mono: bool = False
    long: bool = False
    raw: str = ""
    picture_url: str = ""


@dataclass(frozen=True, kw_only=True)
class ClipView:
    """A clip, or the place of one that is withheld. `shown` says whether there is anything to play."""

    id: str = ""
    prompt: str = ""
    state: str = ""
    state_label: str = ""
    state_detail: str = ""
    shown: bool = False
    under_way: bool = False
    aspect: str = "1 / 1"
    grow: float = 1.0
    poster_url: str = ""
    video_url: str = ""
    download_url: str = ""
    seconds: str = ""
    fps: int = 0
    num_frames: int = 0
    model: str = ""
    created_at: str = ""
    favourite: bool = False
    rating: int = 0
    settings_url: str = ""
    in_full_url: str = ""
    parent_id: str = ""
    params: list[ParamView] = field(default_factory=list)
    receipt: ReceiptView = field(default_factory=ReceiptView)
    newer_id: str = ""
    older_id: str = ""
    again_price: str = ""


@dataclass(frozen=True, kw_only=True)
class ClipPage:
    """A page of the gallery. `cursor` is empty on the last one."""

    clips: list[ClipView]
    cursor: str = ""


@dataclass(frozen=True, kw_only=True)
class LedgerView:
    """One entry of the account's ledger, with the balance after it."""

    id: str
    at: str
    what: str
    amount: str
    balance: str
    incoming: bool = False
    job_id: str = ""


@dataclass(frozen=True, kw_only=True)
class LedgerPage:
    """A page of the ledger, newest first."""

    entries: list[LedgerView]
    cursor: str = ""


@dataclass(frozen=True, kw_only=True)
class KeyView:
    """An API key, without its secret."""

    id: str
    name: str
    hint: str
    scopes: str
    created_at: str
    expires_at: str = ""
    last_used_at: str = ""
    live: bool = True
    state_label: str = "Live"


@dataclass(frozen=True, kw_only=True)
class ScoreView:
    """One finding of the classifier: what, in which picture, and how strongly (0 to 100) against which threshold.

    `at_s` is the second of the clip, as the player seeks it; empty for a still picture or words.
    """

    what: str
    where: str
    percent: int
    threshold: int
    at_s: str = ""
    over: bool = False


@dataclass(frozen=True, kw_only=True)
class CaseView:
    """A review case: the evidence a moderator decides on."""

    id: str = ""
    subject: str = ""
    reason: str = ""
    prompt: str = ""
    waiting_since: str = ""
    model: str = ""
    job_id: str = ""
    video_url: str = ""
    poster_url: str = ""
    images: list[str] = field(default_factory=list)
    fps: int = 0
    scores: list[ScoreView] = field(default_factory=list)
