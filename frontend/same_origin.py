"""Makes the built client talk to whatever address served it, instead of the one known when it was built."""

from typing import Unpack

from reflex_base.plugins.base import Plugin, PreCompileContext

_STATE_MODULE = "utils/state.js"
_ANCHOR = "  const endpoint = new URL(url_str);\n"
_SAME_ORIGIN = """\
  if (typeof window !== "undefined" && window.location.host) {
    // Served from one port with the API: the page's own address is the address.
    endpoint.hostname = window.location.hostname;
    endpoint.port = window.location.port;
    const secure = window.location.protocol === "https:";
    endpoint.protocol = endpoint.protocol.startsWith("ws")
      ? (secure ? "wss:" : "ws:")
      : window.location.protocol;
    return endpoint;
  }
"""


class SameOriginPlugin(Plugin):
    """Rewrites the client's `getBackendURL`: one build serves any host and port, http and https."""

    def pre_compile(self, **context: Unpack[PreCompileContext]) -> None:
        """Register the rewrite; Reflex applies it to the client's sources before they are bundled."""
        context["add_modify_task"](_STATE_MODULE, use_page_origin)


def use_page_origin(source: str) -> str:
    """Return Reflex's state module with the page's origin in place of the one baked in.

    Raises:
        RuntimeError: the module no longer has the line this hangs on (another Reflex version).
    """
    if _SAME_ORIGIN in source:
        return source
    if source.count(_ANCHOR) != 1:
        raise RuntimeError(
            "Reflex's client changed: getBackendURL has no line to hang the page's origin on. "
            "Pin reflex to the version in constraints.txt, or adapt frontend/same_origin.py."
        )
    return source.replace(_ANCHOR, _ANCHOR + _SAME_ORIGIN)
