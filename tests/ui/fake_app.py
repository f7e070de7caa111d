"""The built client over the fake studio: `granian --interface asgi --factory tests.ui.fake_app:app`."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Literal, cast

from fastapi import FastAPI, Request, Response, UploadFile
from fastapi.responses import FileResponse, JSONResponse

from backend.api.outermost import Outermost
from backend.api.socket_limit import SocketLimit
from backend.settings import Settings
from backend.studio import Studio
from backend.web_process import WebProcess
from frontend.studio import build_app
from frontend.views import DoorView
from tests.ui.fake_clips import render
from tests.ui.fake_gateway import ACCOUNTS, INVITATION, SCENES, FakeGateway

FOLDER = Path(os.environ.get("ZOETROPE_FAKE_CLIPS", "/tmp/zoetrope-fake-clips"))
PASSWORD = "projector lamp"

api = FastAPI()
api.add_middleware(Outermost)
api.add_middleware(
    SocketLimit, process=WebProcess(lambda: cast(Studio, SimpleNamespace(settings=Settings())))
)
gateway = FakeGateway()


def _draw() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for index, scene in enumerate(SCENES):
        render(scene, FOLDER, str(index))


_draw()


@api.get("/fake/{name}")
def fake_file(name: str) -> Response:
    path = FOLDER / Path(name).name
    return FileResponse(path) if path.exists() else JSONResponse({}, status_code=404)


@api.post("/auth/sign-in")
async def sign_in(request: Request) -> JSONResponse:
    body = await request.json()
    assert request.headers["x-zoetrope"] == "1"
    name = next((name for name, account in ACCOUNTS.items() if account.email == body.get("email")), "")
    if not name or body.get("password") != PASSWORD:
        return JSONResponse(
            {"error": {"message": "E-mail and password don't belong together.", "param": "password"}},
            status_code=401,
        )
    answer = JSONResponse({"ok": True})
    answer.set_cookie("zoetrope_session", name, httponly=True, samesite="lax")
    return answer


@api.post("/auth/sign-out")
def sign_out() -> JSONResponse:
    answer = JSONResponse({"ok": True})
    answer.delete_cookie("zoetrope_session")
    return answer


@api.post("/auth/sign-up")
async def sign_up(request: Request) -> JSONResponse:
    body = await request.json()
    code = {"message": "This studio is by invitation.", "param": "invitation"}
    wrong = [code] if gateway.front.signup == "invitation" and body.get("invitation") != INVITATION else []
    if len(set(body["password"])) < 5:
        wrong.insert(0, {"message": "That repeats too few characters.", "param": "password"})
    if wrong:
        return JSONResponse({"error": {**wrong[0], "also": wrong[1:]}}, status_code=400)
    answer = JSONResponse({"signed_in": True})
    answer.set_cookie("zoetrope_session", "newcomer", httponly=True, samesite="lax")
    return answer


@api.post("/fake/front")
async def front(request: Request) -> dict[str, bool]:
    """How one gets in from now on."""
    gateway.front = DoorView(**(await request.json()))
    return {"told": True}


@api.post("/fake/make/{account_id}")
def make(account_id: str) -> dict[str, str]:
    """A program sends a job for this account."""
    return {"id": gateway.make(account_id)}


@api.post("/fake/step/{job_id}/{step}")
def step(job_id: str, step: int) -> dict[str, bool]:
    """The job's worker did a step, and whoever watches is told."""
    gateway.step(job_id, step)
    return {"told": True}


@api.post("/fake/finish/{job_id}")
def finish(job_id: str) -> dict[str, bool]:
    """The job becomes a clip, and whoever watches is told."""
    gateway.finish(job_id)
    return {"told": True}


@api.post("/fake/fail/{job_id}")
def fail(job_id: str) -> dict[str, bool]:
    """The job's workers gave up."""
    gateway.fail(job_id)
    return {"told": True}


@api.post("/fake/hold/{job_id}")
def hold(job_id: str) -> dict[str, bool]:
    """A moderator has to decide about the job's clip."""
    gateway.hold(job_id)
    return {"told": True}


@api.post("/uploads")
async def upload(file: UploadFile) -> JSONResponse:
    if len(await file.read()) < 100:
        return JSONResponse(
            {"error": {"message": "That is not a picture.", "param": "image"}}, status_code=400
        )
    return JSONResponse({"id": "upload_1"})


@api.get("/uploads/{upload_id}")
def show_upload(upload_id: str) -> Response:
    """The one image that is kept."""
    return FileResponse(FOLDER / "1.webp") if upload_id == "upload_1" else JSONResponse({}, status_code=404)


@api.get("/tabs")
def tabs() -> dict[str, int | str]:
    """How many tabs are remembered, and by what."""
    manager = app.state_manager
    return {"remembered": len(manager.states), "kept_by": type(manager).__name__}


@api.get("/work")
def work() -> dict[str, int]:
    """What is being done for tabs, and for how many."""
    return {
        "watching": len(gateway.watches),
        "watches_begun": gateway.watches_begun,
        "doors_asked": gateway.doors_asked,
        "sockets": len(app.event_namespace.sid_to_token) if app.event_namespace else 0,
    }


@api.post("/fake/door/{state}")
async def hold_door(state: Literal["held", "free"]) -> dict[str, bool]:
    """Whether whoever asks about the door has to wait for the answer."""
    if state == "held":
        gateway.door_free.clear()
    else:
        gateway.door_free.set()
    return {"told": True}


app = build_app(api=api, gateway=gateway)
