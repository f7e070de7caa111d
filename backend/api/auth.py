"""The ways in and out for people: JSON in, a session cookie out. Programs use API keys instead."""

import secrets
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, BackgroundTasks, Depends, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from backend.api import door_pages
from backend.api.dependencies import SignedIn, StudioDep, address_of, require_own_page
from backend.api.limits import coarse_limit
from backend.api.proxy_notice import note_untrusted_proxy
from backend.auth.tokens import SESSION_COOKIE
from backend.domain.errors import InvalidField, RateLimited
from backend.log import get_logger
from backend.services import open_session
from backend.services.confirm_email import confirm_email
from backend.services.create_sign_in_link import follow_sign_in_link
from backend.services.identify import identify_session
from backend.services.reset_password import request_password_reset, reset_password, set_password
from backend.services.sign_in import sign_in
from backend.services.sign_out import sign_out, sign_out_everywhere
from backend.services.sign_up import sign_up
from backend.studio import Studio

log = get_logger(__name__)

Text = Annotated[str, StringConstraints(max_length=2000)]


async def _own_page(request: Request) -> None:
    require_own_page(request, header=True)


router = APIRouter(
    prefix="/auth",
    tags=["sign-in"],
    dependencies=[Depends(coarse_limit), Depends(note_untrusted_proxy)],
    include_in_schema=False,
)
_form = [Depends(_own_page)]


class _In(BaseModel):
    """Base of the forms: strict about nothing but size."""

    model_config = ConfigDict(frozen=True)


class SignInIn(_In):
    """E-mail and password."""

    email: Text
    password: Text


class SignUpIn(_In):
    """A new account. Where the address is confirmed by e-mail, the password is chosen then."""

    email: Text
    password: Text = ""
    invitation: Text = ""


class ConfirmIn(_In):
    """The token of a letter, and the password to sign in with from now on."""

    token: Text = ""
    password: Text = ""


class ResetIn(_In):
    """With a token and a password: set it. With an e-mail alone: ask for a letter."""

    email: Text = ""
    token: Text = ""
    password: Text = ""


class ResetRequestIn(_In):
    """Whose password was forgotten."""

    email: Text


class PasswordIn(_In):
    """A new password of somebody who is signed in."""

    password: Text
    current: Text = ""


class SignOutIn(_In):
    """`everywhere` ends all sessions of this person."""

    everywhere: bool = Field(default=False)


@router.post("/sign-in", dependencies=_form)
async def post_sign_in(form: SignInIn, request: Request, studio: StudioDep) -> Response:
    """Sign in by password."""
    session = await sign_in(
        studio,
        email=form.email,
        password=form.password,
        address=address_of(request),
        user_agent=_agent(request),
    )
    return _with_cookie(JSONResponse({"signed_in": True}), studio, session)


@router.post("/sign-up", dependencies=_form)
async def post_sign_up(form: SignUpIn, request: Request, studio: StudioDep) -> Response:
    """Make an account, as far as the operator allows."""
    done = await sign_up(
        studio,
        email=form.email,
        password=form.password,
        invitation=form.invitation,
        address=address_of(request),
        user_agent=_agent(request),
    )
    if done.signed_in is None:
        return JSONResponse(
            {
                "signed_in": False,
                "message": "Done. Look for our e-mail: its link confirms your address and sets your password.",
            }
        )
    return _with_cookie(JSONResponse({"signed_in": True}), studio, done.signed_in)


@router.post("/confirm", dependencies=_form)
async def post_confirm(form: ConfirmIn, request: Request, studio: StudioDep) -> Response:
    """Confirm an address by a letter's token, and choose the password."""
    session = await confirm_email(
        studio,
        token=form.token,
        password=form.password,
        address=address_of(request),
        user_agent=_agent(request),
    )
    return _with_cookie(JSONResponse({"signed_in": True}), studio, session)


@router.post("/reset-request", dependencies=_form)
async def post_reset_request(
    form: ResetRequestIn, request: Request, studio: StudioDep, later: BackgroundTasks
) -> dict[str, str]:
    """Ask for a letter. The answer is the same, and as quick, whoever has that address or hasn't."""
    later.add_task(_send_reset, studio, form.email, address_of(request))
    return {"message": "If there is an account of that address, the e-mail is on its way."}


@router.post("/reset", dependencies=_form)
async def post_reset(form: ResetIn, request: Request, studio: StudioDep, later: BackgroundTasks) -> Response:
    """Set a new password by a letter's token; without one, ask for the letter."""
    if form.token:
        session = await reset_password(
            studio,
            token=form.token,
            password=form.password,
            address=address_of(request),
            user_agent=_agent(request),
        )
        return _with_cookie(JSONResponse({"signed_in": True}), studio, session)
    if not form.email:
        raise InvalidField("Enter the address of your account.", param="email")
    later.add_task(_send_reset, studio, form.email, address_of(request))
    return JSONResponse(
        {"message": "If there is an account of that address, the e-mail is on its way."}, background=later
    )


@router.post("/password", dependencies=_form)
async def post_password(
    form: PasswordIn, request: Request, studio: StudioDep, principal: SignedIn
) -> Response:
    """Set one's own password; every other session ends."""
    session = await set_password(
        studio, principal, password=form.password, current=form.current, user_agent=_agent(request)
    )
    return _with_cookie(JSONResponse({"signed_in": True}), studio, session)


@router.post("/sign-out", dependencies=_form)
async def post_sign_out(request: Request, studio: StudioDep, form: SignOutIn | None = None) -> Response:
    """End this session, or all of them; without one there is nothing to do."""
    token = request.cookies.get(SESSION_COOKIE)
    if token and form is not None and form.everywhere:
        await _everywhere(studio, token)
    if token:
        await sign_out(studio, token)
    response = JSONResponse({"signed_in": False})
    response.delete_cookie(
        SESSION_COOKIE, path="/", httponly=True, samesite="lax", secure=studio.settings.secure_cookies
    )
    return response


@router.get("/link/{token}")
async def show_link(token: str) -> Response:
    """A page that posts the link's token: mail scanners and previews only GET, and must not use it up."""
    nonce = secrets.token_urlsafe(16)
    page = door_pages.link_page(action=f"/auth/link/{quote(token, safe='')}", nonce=nonce)
    return _door_page(page, door_pages.policy(nonce))


@router.post("/link/{token}")
async def use_link(token: str, request: Request, studio: StudioDep) -> Response:
    """Sign in by the link, once."""
    require_own_page(request, header=False)
    try:
        session = await follow_sign_in_link(studio, token=token, user_agent=_agent(request))
    except InvalidField:
        return _door_page(door_pages.ended_page(), door_pages.policy(), status_code=410)
    return _with_cookie(RedirectResponse("/", status_code=303), studio, session)


async def _everywhere(studio: Studio, token: str) -> None:
    principal = await identify_session(studio, token)
    if principal is not None:
        await sign_out_everywhere(studio, principal)


async def _send_reset(studio: Studio, email: str, address: str) -> None:
    try:
        await request_password_reset(studio, email=email, address=address)
    except RateLimited:
        log.warning("reset.limited")


def _with_cookie(response: Response, studio: Studio, session: open_session.SignedIn) -> Response:
    response.set_cookie(
        SESSION_COOKIE,
        session.token,
        expires=session.expires_at,
        path="/",
        httponly=True,
        samesite="lax",
        secure=studio.settings.secure_cookies,
    )
    response.headers["cache-control"] = "no-store"
    return response


def _door_page(page: str, policy: str, *, status_code: int = 200) -> Response:
    headers = {"cache-control": "no-store", "content-security-policy": policy}
    return HTMLResponse(page, status_code=status_code, headers=headers)


def _agent(request: Request) -> str:
    return request.headers.get("user-agent", "")
