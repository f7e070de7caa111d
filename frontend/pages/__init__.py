"""The pages, and the table of their addresses."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import reflex as rx

from frontend.pages.account import account_page
from frontend.pages.clip import clip_page
from frontend.pages.create import create_page
from frontend.pages.door import confirm_page, reset_page, sign_in_page, sign_up_page
from frontend.pages.gallery import gallery_page
from frontend.pages.moderation import moderation_page
from frontend.pages.not_found import not_found
from frontend.pages.progress import progress_page
from frontend.pages.real_model import real_model_page
from frontend.states.account import Account
from frontend.states.clip import Clip
from frontend.states.composer import Composer
from frontend.states.door import Door
from frontend.states.gallery import Gallery
from frontend.states.jobs import Jobs
from frontend.states.moderation import Moderation


@dataclass(frozen=True, kw_only=True)
class Page:
    """One address of the studio."""

    route: str
    title: str | rx.Var[str]
    component: Callable[[], rx.Component]
    on_load: list[Any] = field(default_factory=list)


PAGES: tuple[Page, ...] = (
    Page(route="/", title="Create · Zoetrope", component=create_page, on_load=[Composer.open, Jobs.watch]),
    Page(route="/progress", title="In progress · Zoetrope", component=progress_page, on_load=[Jobs.watch]),
    Page(
        route="/gallery",
        title="Gallery · Zoetrope",
        component=gallery_page,
        on_load=[Gallery.open, Gallery.follow, Jobs.watch],
    ),
    Page(
        route="/clips/[clip_id]",
        title=Clip.tab_title,
        component=clip_page,
        on_load=[Clip.open, Clip.follow, Jobs.watch],
    ),
    Page(
        route="/account",
        title="Account · Zoetrope",
        component=account_page,
        on_load=[Account.open, Jobs.watch],
    ),
    Page(
        route="/moderation",
        title="Moderation · Zoetrope",
        component=moderation_page,
        on_load=[Moderation.open, Moderation.follow, Jobs.watch],
    ),
    Page(
        route="/models",
        title="Connect a real model · Zoetrope",
        component=real_model_page,
        on_load=[Jobs.watch],
    ),
    Page(route="/sign-in", title="Sign in · Zoetrope", component=sign_in_page, on_load=[Door.open]),
    Page(route="/sign-up", title="Sign up · Zoetrope", component=sign_up_page, on_load=[Door.open]),
    Page(route="/reset", title="New password · Zoetrope", component=reset_page, on_load=[Door.open]),
    Page(route="/confirm", title="Confirm your address · Zoetrope", component=confirm_page),
)

__all__ = ["PAGES", "Page", "not_found"]
