"""Create: the composer, what is on its way, and the latest clips, on one page."""

import reflex as rx

from frontend.components.clips import poster, wall
from frontend.components.controls import choice, icon, icon_button
from frontend.components.elements import image_drop, inline_style
from frontend.components.faces import empty, failed, skeleton_tiles
from frontend.components.money import refusal, shortfall
from frontend.components.strips import ended_strip, job_strip
from frontend.layouts.shell import shell
from frontend.pages.progress import stop_dialog
from frontend.states.browser import with_fields
from frontend.states.composer import Composer
from frontend.states.jobs import Jobs

_MOST_UPLOAD_BYTES = 20 * 1024 * 1024
_REQUOTE = with_fields("form[data-composer]", Composer.requote)


def _error(field: str) -> rx.Component:
    return rx.cond(
        Composer.error_field == field,
        rx.el.p(Composer.error_words, class_name="field-error", role="alert"),
    )


def _little_frame(size: rx.Var) -> rx.Component:
    return rx.el.i(
        class_name="little-frame",
        aria_hidden="true",
        custom_attrs=inline_style(width=f"{size.frame_w}px", height=f"{size.frame_h}px"),
    )


def _sizes() -> rx.Component:
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
        rx.el.summary(icon("more"), "More", class_name="menu-label"),
        rx.el.div(
            rx.el.div(
                rx.el.label("Steps", html_for="steps", class_name="field-label"),
                rx.el.div(
                    rx.el.input(
                        id="steps",
                        name="steps",
                        type="number",
                        input_mode="numeric",
                        min=Composer.model.steps_low,
                        max=Composer.model.steps_high,
                        placeholder=Composer.model.steps_default.to_string(),
                        class_name="input input-number",
                        on_change=_REQUOTE.debounce(250),
                    ),
                    class_name="field-row",
                ),
                rx.el.p(
                    f"{Composer.model.steps_low} to {Composer.model.steps_high}. More steps are sharper, and slower.",
                    class_name="field-hint",
                ),
                _error("steps"),
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
                        class_name="input input-number mono",
                    ),
                    icon_button("again", "Another seed", custom_attrs={"data-dice": ""}),
                    class_name="field-row",
                ),
                rx.el.p("The same seed and settings give the same clip.", class_name="field-hint"),
                _error("seed"),
                class_name="field",
            ),
            rx.cond(
                Composer.model.takes_negative_prompt,
                rx.el.div(
                    rx.el.label("Without", html_for="negative_prompt", class_name="field-label"),
                    rx.el.textarea(
                        id="negative_prompt", name="negative_prompt", rows="1", class_name="input"
                    ),
                    rx.el.p("What should not be seen.", class_name="field-hint"),
                    _error("negative_prompt"),
                    class_name="field field-wide",
                ),
            ),
            class_name="more-room",
        ),
        class_name="more",
    )


def _price() -> rx.Component:
    return rx.el.p(
        rx.cond(
            Composer.quote.known,
            rx.fragment(
                rx.el.span(
                    Composer.quote.credits, rx.cond(Composer.quote.credits == 1, " credit", " credits")
                ),
                rx.el.span(Composer.quote.wait, class_name="price-wait"),
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
                    aria_describedby="prompt-note",
                    aria_invalid=rx.cond(Composer.error_field == "prompt", "true", "false"),
                    custom_attrs={"data-most": Composer.model.max_prompt_chars},
                ),
                rx.el.p(
                    id="prompt-note", class_name="field-hint prompt-left", custom_attrs={"data-left": ""}
                ),
                _error("prompt"),
                class_name="prompt-room",
            ),
            rx.cond(
                Composer.model.takes_image,
                rx.el.div(
                    image_drop(most_bytes=_MOST_UPLOAD_BYTES), _error("image_id"), class_name="image-room"
                ),
            ),
            class_name="composer-top",
        ),
        rx.el.div(
            rx.el.div(_models(), _sizes(), _lengths(), class_name="controls"),
            _more(),
            rx.el.div(
                _price(),
                rx.el.button(
                    rx.el.span("Generate"),
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
            shown=Composer.error_field == "form",
            words=Composer.error_words,
            again_at=Composer.error_again_at,
            code=Composer.error_code,
        ),
        rx.cond(Composer.error_field != "form", shortfall(Composer.quote)),
        rx.el.input(type="hidden", name="idempotency_key", default_value=""),
        on_submit=Composer.submit,
        reset_on_submit=False,
        class_name="composer",
        custom_attrs={"data-composer": "", "data-empty": ""},
    )


def _knows() -> rx.Component:
    return rx.cond(
        Composer.model.knows != "",
        rx.el.section(
            rx.el.p(
                Composer.model.knows,
                " ",
                rx.el.span(Composer.model.how_to_add),
                class_name="knows-words",
            ),
            rx.el.div(
                rx.foreach(
                    Composer.model.examples,
                    lambda example: rx.el.button(
                        example, type="button", class_name="example", custom_attrs={"data-example": example}
                    ),
                ),
                class_name="examples",
            ),
            class_name="knows",
            aria_label="What this model knows",
        ),
    )


def _under_way() -> rx.Component:
    return rx.cond(
        Jobs.jobs.length() > 0,
        rx.el.section(
            rx.el.h2("In progress", class_name="section-title"),
            rx.el.ul(
                rx.foreach(Jobs.on_their_way, lambda job: job_strip(job, cancel=Jobs.ask_to_cancel(job.id))),
                rx.foreach(
                    Jobs.ended_lately,
                    lambda job: ended_strip(job, retry=Jobs.retry(job.id), remove=Jobs.remove(job.id)),
                ),
                class_name="strips",
            ),
            class_name="section",
        ),
    )


def _latest() -> rx.Component:
    return rx.el.section(
        rx.el.header(
            rx.el.h2("Latest", class_name="section-title"),
            rx.cond(Jobs.latest.length() > 0, rx.el.a("All clips", href="/gallery", class_name="quiet-link")),
            class_name="section-head",
        ),
        rx.cond(
            Jobs.trouble != "",
            failed(Jobs.trouble, again=Jobs.load),
            rx.cond(
                Jobs.loaded,
                rx.cond(
                    Jobs.latest.length() > 0,
                    wall(Jobs.latest, tile=poster),
                    empty(
                        "Your clips will play here",
                        "Write a prompt above, or take one of the examples. The first clip is here in seconds.",
                        quiet=True,
                    ),
                ),
                skeleton_tiles(4),
            ),
        ),
        class_name="section",
    )


def create_page() -> rx.Component:
    """Compose, watch it happen, see the result arrive."""
    return shell(
        "Create",
        _composer(),
        _knows(),
        _under_way(),
        _latest(),
        stop_dialog(),
        here="/",
        class_name="room-create",
    )
