"""`generate`: one clip from a prompt, through the HTTP API of a running studio."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from pydantic import BaseModel, ConfigDict, ValidationError
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from backend.cli.accounts import with_studio
from backend.operator_errors import NotRunningError, OperatorError
from backend.runtime import read_runtime
from backend.settings import Settings, load_settings

POLL_EVERY_S = 0.4
PATIENCE_S = 60.0  # how long a studio that restarts is waited for in mid-job


class _Failure(BaseModel):
    code: str = "failed"
    message: str = "no reason given"


class _Video(BaseModel):
    """What this command reads of the API's Video."""

    model_config = ConfigDict(extra="ignore")

    id: str
    status: str
    state: str = ""
    progress: int = 0
    queue_position: int | None = None
    error: _Failure | None = None


_AT_WORK = {
    "assigned": "starting",
    "moderating": "checking the clip",
    "in_review": "waiting for a moderator",
    "approved": "publishing",
}


class GenerationFailedError(OperatorError):
    """The job ended without a clip, or never began."""


class KeyRefusedError(OperatorError):
    """The studio does not know the key."""


def register(app: typer.Typer) -> None:
    """Adds this command."""
    app.command()(generate)


def generate(
    prompt: Annotated[str, typer.Argument(help="What to show.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Where the clip goes.")] = Path("clip.mp4"),
    model: Annotated[str | None, typer.Option(help="Which model; the studio's default otherwise.")] = None,
    size: Annotated[str | None, typer.Option(help="WIDTHxHEIGHT.")] = None,
    seconds: Annotated[str | None, typer.Option(help="Length of the clip.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same clip.")] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps: more take longer.")] = None,
    guidance: Annotated[float | None, typer.Option(help="How closely the model follows the prompt.")] = None,
    negative_prompt: Annotated[str | None, typer.Option(help="What is not to be shown.")] = None,
    image: Annotated[
        Path | None, typer.Option(help="An image to start from.", exists=True, dir_okay=False)
    ] = None,
) -> None:
    """Generate one clip and wait for it, by ZOETROPE_API_KEY or as the local studio's first admin."""
    settings = load_settings()
    if not output.parent.is_dir():
        raise OperatorError(f"{output.parent} is not a folder", "name another file with -o")
    form: dict[str, Any] = {
        name: (None, str(value))
        for name, value in {
            "prompt": prompt,
            "model": model,
            "size": size,
            "seconds": seconds,
            "seed": seed,
            "num_inference_steps": steps,
            "guidance_scale": guidance,
            "negative_prompt": negative_prompt,
        }.items()
        if value is not None
    }
    if image is not None:
        form["input_reference"] = (image.name, image.read_bytes())
    with httpx.Client(base_url=_base_url(settings), timeout=60, follow_redirects=True) as client:
        video = _submit(client, settings, form)
        _follow(client, video)
        _download(client, video.id, output)
    print(output)


def _submit(client: httpx.Client, settings: Settings, form: dict[str, Any]) -> _Video:
    if settings.api_key is not None:
        client.headers["Authorization"] = f"Bearer {settings.api_key.get_secret_value()}"
        return _video(_asked(client, "POST", "/v1/videos", files=form))
    kept = settings.data_dir / "secrets" / "cli-api-key"
    client.headers["Authorization"] = f"Bearer {_local_key(settings, kept)}"
    try:
        return _video(_asked(client, "POST", "/v1/videos", files=form))
    except KeyRefusedError:
        # Kept from a database that is gone, or revoked: one new try with a new key.
        kept.unlink()
        client.headers["Authorization"] = f"Bearer {_local_key(settings, kept)}"
        return _video(_asked(client, "POST", "/v1/videos", files=form))


def _follow(client: httpx.Client, video: _Video) -> None:
    with _bar() as (progress, task):
        while video.status not in {"completed", "failed"}:
            progress.update(task, completed=video.progress, description=_sentence(video))
            time.sleep(POLL_EVERY_S)
            video = _video(_asked_patiently(client, f"/v1/videos/{video.id}"))
        progress.update(task, completed=video.progress, description=video.status)
    if video.status == "failed":
        failure = video.error or _Failure()
        raise GenerationFailedError(f"no clip ({failure.code})", failure.message)


def _sentence(video: _Video) -> str:
    if video.status == "queued":
        if video.queue_position is None:
            return "waiting"
        return "next" if video.queue_position <= 1 else f"number {video.queue_position} in the queue"
    return _AT_WORK.get(video.state, "denoising")


@contextmanager
def _bar() -> Iterator[tuple[Progress, TaskID]]:
    columns = (
        TextColumn("{task.description:<24}"),
        BarColumn(complete_style="yellow", finished_style="yellow"),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield progress, progress.add_task("sending", total=100)


def _download(client: httpx.Client, video_id: str, output: Path) -> None:
    draft = output.with_name(f".{output.name}.part")
    try:
        with client.stream("GET", f"/v1/videos/{video_id}/content") as answer:
            if answer.status_code != 200:
                answer.read()
                raise _refusal(answer)
            with draft.open("wb") as file:
                for piece in answer.iter_bytes():
                    file.write(piece)
        draft.replace(output)
    except OSError as error:
        raise OperatorError(
            f"{output} can't be written ({error.strerror})", "name another file with -o"
        ) from error
    except httpx.HTTPError as error:
        raise _unreachable(client, error) from error
    finally:
        draft.unlink(missing_ok=True)


def _asked_patiently(client: httpx.Client, path: str) -> httpx.Response:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return _asked(client, "GET", path)
        except NotRunningError:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)


def _asked(client: httpx.Client, method: str, path: str, **content: Any) -> httpx.Response:
    try:
        answer = client.request(method, path, **content)
    except httpx.HTTPError as error:
        raise _unreachable(client, error) from error
    if answer.status_code >= 500:
        raise NotRunningError(f"the studio answered {answer.status_code}", "run `zoetrope doctor`")
    if answer.status_code >= 400:
        raise _refusal(answer)
    return answer


def _video(answer: httpx.Response) -> _Video:
    try:
        return _Video.model_validate_json(answer.content)
    except ValidationError as error:
        raise OperatorError(
            f"{answer.request.url.host} is no Zoetrope", "correct ZOETROPE_PUBLIC_URL"
        ) from error


def _refusal(answer: httpx.Response) -> OperatorError:
    try:
        told = json.loads(answer.content)["error"]
        message, code = str(told["message"]), str(told.get("code") or answer.status_code)
    except (ValueError, KeyError, TypeError):
        message, code = f"status {answer.status_code}", "refused"
    if answer.status_code == 401:
        return KeyRefusedError("the studio does not know this key", "make one with `zoetrope keys create`")
    return GenerationFailedError(f"refused ({code})", message)


def _unreachable(client: httpx.Client, error: Exception) -> NotRunningError:
    cause = str(error) or type(error).__name__
    return NotRunningError(f"no studio answers at {client.base_url} ({cause})", "start it with `make run`")


def _base_url(settings: Settings) -> str:
    runtime = read_runtime(settings.data_dir)
    if runtime is not None and runtime.is_running():
        return runtime.base_url
    return settings.public_url


def _local_key(settings: Settings, kept: Path) -> str:
    """A key of the first admin's, made at first use and kept beside the data, mode 0600."""
    from backend.services.create_local_key import create_local_key

    try:
        return kept.read_text().strip()
    except FileNotFoundError:
        pass
    runtime = read_runtime(settings.data_dir)
    if runtime is None or not runtime.is_running():
        remedy = "start it with `make run`, or set ZOETROPE_API_KEY (and ZOETROPE_PUBLIC_URL)"
        raise NotRunningError("no studio runs over this data folder", remedy)
    key = with_studio(create_local_key)
    kept.parent.mkdir(mode=0o700, exist_ok=True)
    with os.fdopen(os.open(kept, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(key)
    return key
