"""The web process's app, as a server loads it: `granian --interface asgi --factory frontend.app:app`."""

from backend.api.app import create_app
from backend.web_process import WebProcess
from frontend.studio import build_app
from frontend.studio_gateway import StudioGateway

# Opened at the first request: the client is built from this module, without a database.
process = WebProcess()
gateway = StudioGateway(process)
app = build_app(
    api=create_app(process), gateway=gateway, at_end=process.close, media_origin=gateway.media_origin
)
