"""Makes the built client call our own functions by name instead of evaluating code that the server sends.

So the pages' policy can do without `unsafe-eval` (frontend/policy.py). frontend/states/browser.py writes the calls.
"""

from typing import Unpack

from reflex_base.plugins.base import Plugin, PreCompileContext

_STATE_MODULE = "utils/state.js"
_EVALUATES = """\
  if (event.name == "_call_script" || event.name == "_call_function") {
    try {
      const eval_result =
        event.name == "_call_script"
          ? eval(event.payload.javascript_code)
          : eval(event.payload.function)();

      if (event.payload.callback) {
        const final_result =
          !!eval_result && typeof eval_result.then === "function"
            ? await eval_result
            : eval_result;
        const callback =
          typeof event.payload.callback === "string"
            ? eval(event.payload.callback)
            : event.payload.callback;
        callback(final_result);
      }
    } catch (e) {
"""
_CALLS = """\
  if (event.name == "_call_script") {
    try {
      // {call: one of window.zoetrope, values, then: the event that takes its answer, as: under this name}
      const asked = JSON.parse(event.payload.javascript_code);
      const answer = window.zoetrope?.[asked.call]?.(...asked.values);
      if (asked.then) {
        const payload = { [asked.as]: (await answer) ?? null };
        queueEvents([ReflexEvent(asked.then, payload)], socket, false, navigate, params);
      }
    } catch (e) {
"""


class NoEvalPlugin(Plugin):
    """Rewrites what the client does with an event that names a script."""

    def pre_compile(self, **context: Unpack[PreCompileContext]) -> None:
        """Register the rewrite; Reflex applies it to the client's sources before they are bundled."""
        context["add_modify_task"](_STATE_MODULE, call_by_name)


def call_by_name(source: str) -> str:
    """Return Reflex's state module with calls by name in place of evaluated code.

    Raises:
        RuntimeError: the module no longer has the lines this replaces (another Reflex version).
    """
    if _CALLS in source:
        return source
    if source.count(_EVALUATES) != 1:
        raise RuntimeError(
            "Reflex's client changed: applyEvent has no evaluated script to replace. "
            "Pin reflex to the version in constraints.txt, or adapt frontend/no_eval.py."
        )
    return source.replace(_EVALUATES, _CALLS)
