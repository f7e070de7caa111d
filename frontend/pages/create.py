"""Create: the composer, what is on its way, and the latest clips, on one page."""

from typing import Any

import reflex as rx
from reflex_components_core.core.banner import has_connection_errors

from frontend.components.clips import poster, wall
from frontend.components.controls import button, choice, icon, icon_button
from frontend.components.elements import image_drop, inline_style
from frontend.components.faces import empty, failed, skeleton_tiles
from frontend.components.money import quicker, refusal, shortfall
from frontend.components.stage import stage
from frontend.layouts.shell import shell
from frontend.pages.progress import ended_jobs, stop_dialog
from frontend.states.browser import with_draft, with_fields
from frontend.states.composer import Composer
from frontend.states.jobs import Jobs

_MOST_UPLOAD_BYTES = 20 * 1024 * 1024
_REQUOTE = with_fields("form[data-composer]", Composer.requote)
_READ_WORDS = with_fields("form[data-composer]", Composer.read_words)


def _error(field: str, *, else_: rx.Component | None = None) -> rx.Component:
    said = rx.el.p(Composer.errors[field], class_name="field-error", role="alert", id=f"{field}-note")
    return rx.cond(Composer.errors[field], said, else_) if else_ else rx.cond(Composer.errors[field], said)


def _hint(field: str, *words: Any) -> rx.Component:
    """What a field is for; in its place what is wrong with it, once something is."""
    return _error(field, else_=rx.el.p(*words, class_name="field-hint", id=f"{field}-note"))


def _is_wrong(field: str) -> Any:
    return rx.cond(Composer.errors[field], "true", "false")


def _once_known(value: Any) -> Any:
    """A figure of the model; nothing before it is known."""
    return rx.cond(Composer.model.id != "", value, "")


def _little_frame(size: Any) -> rx.Component:
    return rx.el.i(
        class_name="little-frame",
        aria_hidden="true",
        custom_attrs=inline_style(width=f"{size.frame_w}px", height=f"{size.frame_h}px"),
    )


def _only(name: str, value: Any, label: Any, picture: rx.Component | None = None) -> rx.Component:
    """The only one on offer: a fact, not a choice."""
    return rx.el.span(
        *([picture] if picture is not None else []),
        label,
        rx.el.input(type="hidden", name=name, value=value),
        class_name="only",
    )


def _sizes() -> rx.Component:
    size = Composer.model.sizes[0]
    return rx.cond(
        Composer.model.sizes.length() > 1,
        _size_choices(),
        _only("size", size.value, size.label, _little_frame(size)),
    )


def _size_choices() -> rx.Component:
    return rx.el.fieldset(
        rx.el.legend("Size", class_name="off-screen"),
        rx.foreach(
            Composer.model.sizes,
            lambda size, index: choice(
                "size",
                size.value,
                size.label,
                checked=index == 0,
                picture=_little_frame(size),
                on_change=_REQUOTE,
            ),
        ),
        _error("size"),
        class_name="choices",
    )


def _lengths() -> rx.Component:
    length = Composer.model.lengths[0]
    return rx.cond(
        Composer.model.lengths.length() > 1,
        _length_choices(),
        _only("seconds", length.value, length.label),
    )


def _length_choices() -> rx.Component:
    return rx.el.fieldset(
        rx.el.legend("Length", class_name="off-screen"),
        rx.foreach(
            Composer.model.lengths,
            lambda length, index: choice(
                "seconds", length.value, length.label, checked=index == 0, on_change=_REQUOTE
            ),
        ),
        _error("seconds"),
        class_name="choices",
    )


def _models() -> rx.Component:
    return rx.cond(
        Composer.models.length() > 1,
        _model_choice(),
        _only("model", Composer.model.id, Composer.model.title),
    )


def _model_choice() -> rx.Component:
    return rx.el.label(
        rx.el.span("Model", class_name="off-screen"),
        rx.el.select(
            rx.foreach(
                Composer.models,
                lambda model: rx.el.option(model.title, value=model.id, disabled=~model.available),
            ),
            name="model",
            class_name="select",
            on_change=_REQUOTE,
        ),
        icon("chevron"),
        class_name="select-frame",
    )


def _more() -> rx.Component:
    return rx.el.details(
        rx.el.summary(
            icon("more"),
            "More",
            rx.el.span(class_name="more-set", custom_attrs={"data-more-set": ""}),
            class_name="menu-label",
        ),
        rx.el.div(
            rx.el.div(
                rx.el.label("Steps", html_for="steps", class_name="field-label"),
                rx.el.div(
                    rx.el.input(
                        id="steps",
                        name="steps",
                        type="number",
                        input_mode="numeric",
                        min=_once_known(Composer.model.steps_low.to_string()),
                        max=_once_known(Composer.model.steps_high.to_string()),
                        placeholder=_once_known(Composer.model.steps_default.to_string()),
                        aria_invalid=_is_wrong("steps"),
                        aria_describedby="steps-note",
                        class_name="input input-number",
                        on_change=_REQUOTE.debounce(250),
                    ),
                    class_name="field-row",
                ),
                _hint(
                    "steps",
                    _once_known(f"{Composer.model.steps_low} to {Composer.model.steps_high}. "),
                    "More steps are sharper, and slower.",
                ),
                class_name="field",
            ),
            rx.el.div(
                rx.el.label("Seed", html_for="seed", class_name="field-label"),
                rx.el.div(
                    rx.el.input(
                        id="seed",
                        name="seed",
                        type="text",
                        input_mode="numeric",
                        placeholder="Any",
                        auto_complete="off",
                        aria_invalid=_is_wrong("seed"),
                        aria_describedby="seed-note",
                        class_name="input input-number mono",
                        on_change=_REQUOTE.debounce(250),
                    ),
                    icon_button("again", "Another seed", custom_attrs={"data-dice": ""}),
                    class_name="field-row",
                ),
                _hint("seed", "The same seed and settings give the same clip."),
                class_name="field",
            ),
            rx.el.div(
                rx.el.label("Guidance", html_for="guidance", class_name="field-label"),
                rx.el.div(
                    rx.el.input(
                        id="guidance",
                        name="guidance",
                        type="text",
                        input_mode="decimal",
                        placeholder=Composer.model.guidance_default,
                        auto_complete="off",
                        aria_invalid=_is_wrong("guidance"),
                        aria_describedby="guidance-note",
                        class_name="input input-number",
                        on_change=_REQUOTE.debounce(250),
                    ),
                    class_name="field-row",
                ),
                _hint(
                    "guidance",
                    _once_known(f"{Composer.model.guidance_low} to {Composer.model.guidance_high}. "),
                    "More keeps closer to the words.",
                ),
                class_name="field",
            ),
            rx.cond(
                Composer.model.takes_negative_prompt,
                rx.el.div(
                    rx.el.label("Without", html_for="negative_prompt", class_name="field-label"),
                    rx.el.textarea(
                        id="negative_prompt",
                        name="negative_prompt",
                        rows="1",
                        aria_invalid=_is_wrong("negative_prompt"),
                        aria_describedby="negative_prompt-note",
                        class_name="input",
                        on_change=_REQUOTE.debounce(350),
                    ),
                    _hint("negative_prompt", "What should not be seen."),
                    class_name="field field-wide",
                ),
            ),
            class_name="more-room",
        ),
        class_name="more",
    )


def _price() -> rx.Component:
    """Price and wait. None while a setting is wrong: it would be the price of something else."""
    return rx.el.p(
        rx.cond(
            Composer.quote.known | Composer.has_errors,
            rx.cond(
                ~Composer.has_errors,
                rx.fragment(
                    rx.el.span(
                        Composer.quote.credits, rx.cond(Composer.quote.credits == 1, " credit", " credits")
                    ),
                    rx.el.span(Composer.quote.wait, class_name="price-wait"),
                ),
            ),
            rx.el.span(class_name="skeleton skeleton-word"),
        ),
        class_name="price",
        aria_live="polite",
    )


def _composer() -> rx.Component:
    return rx.el.form(
        rx.el.div(
            rx.el.div(
                rx.el.label("Prompt", html_for="prompt", class_name="off-screen"),
                rx.el.textarea(
                    id="prompt",
                    name="prompt",
                    rows="2",
                    placeholder="Say what should be seen, and how it moves",
                    class_name="prompt",
                    max_length=Composer.model.max_prompt_chars,
                    aria_describedby="prompt-left prompt-note",
                    aria_invalid=_is_wrong("prompt"),
                    on_change=_READ_WORDS.debounce(350),
                    custom_attrs={"data-most": Composer.model.max_prompt_chars},
                ),
                rx.el.p(
                    id="prompt-left", class_name="field-hint prompt-left", custom_attrs={"data-left": ""}
                ),
                # Beside a refusal it would be noise.
                rx.el.p(
                    rx.cond(Composer.errors["prompt"], "", Composer.unknown),
                    class_name="prompt-unknown",
                    role="status",
                ),
                _error("prompt"),
                class_name="prompt-room",
            ),
            rx.cond(
                Composer.model.takes_image,
                rx.el.div(
                    image_drop(most_bytes=_MOST_UPLOAD_BYTES), _error("image_id"), class_name="image-room"
                ),
                rx.cond(
                    Composer.model.id == "",
                    rx.el.div(rx.el.div(class_name="drop skeleton"), class_name="image-room"),
                ),
            ),
            class_name="composer-top",
        ),
        rx.el.div(
            rx.cond(
                Composer.model.id != "",
                rx.el.div(_models(), _sizes(), _lengths(), class_name="controls"),
                rx.el.div(
                    rx.el.span(class_name="skeleton skeleton-word"), class_name="controls controls-waiting"
                ),
            ),
            _more(),
            rx.el.div(
                _price(),
                rx.el.button(
                    rx.el.span("Generate", class_name="while-ready"),
                    rx.el.span("Sending the image…", class_name="while-waiting"),
                    rx.el.span("Waiting…", class_name="while-away"),
                    type="submit",
                    class_name="button button-primary button-generate",
                    title="Ctrl Enter",
                    disabled=~Composer.quote.affordable,
                ),
                class_name="composer-send",
            ),
            class_name="composer-bar",
        ),
        refusal(
            shown=Composer.errors["form"],
            words=Composer.errors["form"],
            again_at=Composer.error_again_at,
            code=Composer.error_code,
        ),
        rx.cond(
            ~(Composer.has_errors | Composer.errors["form"].bool()),
            rx.fragment(
                shortfall(Composer.quote),
                quicker(Composer.quote, make=with_fields("form[data-composer]", Composer.submit_quicker)),
            ),
        ),
        rx.cond(
            has_connection_errors,
            rx.el.p(
                "Not sent yet: it goes as soon as the connection is back.",
                class_name="composer-note composer-held",
                role="status",
            ),
        ),
        rx.el.input(type="hidden", name="idempotency_key", default_value=""),
        on_submit=Composer.submit,
        reset_on_submit=False,
        # What is wrong is said here, beside its field and in the studio's words; the browser says nothing.
        no_validate=True,
        class_name="composer",
        custom_attrs={"data-composer": "", "data-empty": ""},
    )


def _word(group: Any, word: Any) -> rx.Component:
    return rx.el.button(
        rx.cond(
            word.colour != "",
            rx.el.i(class_name="swatch", aria_hidden="true", custom_attrs=inline_style(__swatch=word.colour)),
        ),
        word.value,
        type="button",
        class_name="word",
        aria_pressed="false",
        custom_attrs={"data-slot": group.slot, "data-word": word.value},
    )


def _words() -> rx.Component:
    return rx.el.div(
        rx.foreach(
            Composer.model.words,
            lambda group: rx.el.div(
                rx.el.span(group.label, class_name="words-label"),
                rx.el.div(
                    rx.foreach(group.words, lambda word: _word(group, word)),
                    class_name="words-row",
                    role="group",
                    aria_label=group.label,
                ),
                class_name="words-group",
            ),
        ),
        class_name="words",
        custom_attrs={"data-sentence": Composer.model.sentence},
    )


def _examples() -> rx.Component:
    return rx.el.div(
        rx.foreach(
            Composer.model.examples,
            lambda example: rx.el.button(
                example, type="button", class_name="example", custom_attrs={"data-example": example}
            ),
        ),
        class_name="examples",
    )


def _knows() -> rx.Component:
    return rx.cond(
        Composer.model.knows != "",
        rx.el.details(
            rx.el.summary(
                icon("help"),
                "What ",
                Composer.model.title,
                " knows",
                icon("chevron"),
                class_name="knows-label",
            ),
            rx.el.p(
                Composer.model.knows,
                rx.cond(
                    Composer.model.small,
                    rx.cond(
                        Composer.account.role == "admin",
                        rx.fragment(
                            " For everything else, ", rx.el.a("connect a real model", href="/models"), "."
                        ),
                        " For everything else, whoever runs this studio can connect a real model.",
                    ),
                ),
                class_name="knows-words",
            ),
            rx.cond(Composer.model.words.length() > 0, _words(), _examples()),
            # Open until the first clip is made; then whoever wants it opens it.
            open=Jobs.loaded & (Jobs.latest.length() == 0) & (Jobs.jobs.length() == 0),
            class_name="knows",
        ),
    )


def _queued(job: Any) -> rx.Component:
    return rx.el.li(
        rx.el.a(job.prompt, href=f"/clips/{job.id}", class_name="behind-prompt"),
        rx.el.span(job.headline, class_name="behind-where"),
        icon_button(
            "close",
            f"Cancel: {job.prompt}",
            on_click=Jobs.ask_to_cancel(job.id),
            custom_attrs={"data-job": job.id},
        ),
        key=job.id,
        class_name="behind-job",
    )


def _now() -> rx.Component:
    """What is made now, large; what comes next beside it."""
    return rx.cond(
        Jobs.staged != "",
        stage(
            Jobs.stage_job,
            Jobs.stage_clip,
            cancel=Jobs.ask_to_cancel(Jobs.staged),
            behind=rx.cond(
                Jobs.behind_stage.length() > 0,
                rx.el.ul(
                    rx.foreach(Jobs.behind_next, _queued),
                    rx.cond(
                        Jobs.behind_more > 0,
                        rx.el.li(
                            rx.el.a(
                                Jobs.behind_more,
                                " more, then the last one sent",
                                href="/progress",
                                class_name="quiet-link",
                            ),
                            class_name="behind-more",
                        ),
                    ),
                    rx.foreach(Jobs.behind_last, _queued),
                    class_name="behind",
                ),
            ),
        ),
    )


def _asides() -> rx.Component:
    """In one line: what a moderator has, what ended without a clip, and what the model knows."""
    return rx.el.div(
        rx.cond(
            Jobs.in_review.length() > 0,
            rx.el.a(
                icon("clock"),
                rx.cond(
                    Jobs.in_review.length() == 1,
                    "1 clip waits for a moderator",
                    f"{Jobs.in_review.length()} clips wait for a moderator",
                ),
                href="/progress",
                class_name="asides-link",
            ),
        ),
        # What was on the stage just now says why it left it without a clip.
        ended_jobs(open_=Jobs.went_wrong),
        _knows(),
        class_name="asides-row",
    )


def _latest() -> rx.Component:
    return rx.el.section(
        # No heading over nothing: it comes with the first clip.
        rx.cond(
            Jobs.wall.length() > 0,
            rx.el.header(
                rx.el.h2("Latest", class_name="section-title"),
                rx.cond(
                    Jobs.latest.length() > 0, rx.el.a("All clips", href="/gallery", class_name="quiet-link")
                ),
                class_name="section-head",
            ),
        ),
        rx.cond(
            Jobs.trouble != "",
            failed(Jobs.trouble, again=Jobs.load),
            rx.cond(
                Jobs.wall.length() > 0,
                wall(Jobs.wall, tile=poster, whole_rows=Jobs.wall_is_full),
                rx.cond(
                    Jobs.staged == "",
                    empty(
                        "Your clips play here",
                        "Write a prompt above, or put one together from the words below it.",
                        quiet=True,
                    ),
                ),
            ),
        ),
        class_name="section",
    )


def _below() -> rx.Component:
    """What follows the composer, in one piece: what comes later would push what is being looked at."""
    return rx.cond(
        Jobs.loaded | (Jobs.trouble != ""),
        rx.fragment(_now(), _asides(), _latest()),
        rx.el.div(skeleton_tiles(4), class_name="section"),
    )


def create_page() -> rx.Component:
    """Compose, watch it happen, see the result arrive."""
    return shell(
        "Create",
        _composer(),
        _below(),
        stop_dialog(),
        button(
            "Ask for the price again",
            class_name="off-stage",
            tab_index=-1,
            aria_hidden="true",
            on_click=with_draft(Composer.requote),
            custom_attrs={"data-requote": ""},
        ),
        here="/",
        class_name="room-create",
    )
