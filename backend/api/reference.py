"""The page at /docs/api: the API's own description, written out as plain HTML. It loads nothing from elsewhere."""

import base64
import hashlib
import html
import re
from collections.abc import Iterator, Mapping
from string import Template
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from backend.api.dependencies import StudioDep

JSON = "application/json"
_CODE = re.compile(r"`([^`]+)`")
_AS_CODE = r"<code>\1</code>"
Schema = Mapping[str, Any]

router = APIRouter(include_in_schema=False)


@router.get("/docs/api")
async def show_reference(request: Request, studio: StudioDep) -> HTMLResponse:
    """The reference of this very version."""
    page = render(request.app.openapi(), base_url=studio.settings.public_url)
    return HTMLResponse(page, headers={"content-security-policy": POLICY, "cache-control": "no-cache"})


def render(described: Schema, *, base_url: str) -> str:
    """The page of an OpenAPI document; `base_url` is where its examples send to."""
    operations = [
        (method, path, operation)
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    ]
    used = _schemas_of_answers(described, operations)
    return _PAGE.substitute(
        style=STYLE,
        title=_text(described["info"]["title"]),
        summary=_prose(described["info"].get("summary", "")),
        base_url=_text(base_url),
        contents="".join(
            f'<li><a href="#{_anchor(o)}"><b class="{m}">{m.upper()}</b> <code>{_text(p)}</code></a></li>'
            for m, p, o in operations
        ),
        operations="".join(_operation(*one) for one in operations),
        objects="".join(_object(name, schema) for name, schema in used),
    )


def _operation(method: str, path: str, operation: Schema) -> str:
    said = operation.get("description") or operation.get("summary", "")
    rows = [
        _row(p["name"], p.get("schema", {}), required=p.get("required", False), where=p["in"])
        for p in operation.get("parameters", [])
        if not p["name"].startswith("x-stainless")
    ]
    body = operation.get("requestBody", {}).get("content", {})
    forms = ", ".join(f"<code>{_text(kind)}</code>" for kind in body)
    fields = _properties(body[JSON] if JSON in body else next(iter(body.values()))) if body else []
    rows += [_row(name, schema, required=required, where="body") for name, schema, required in fields]
    return (
        f'<section id="{_anchor(operation)}"><h3><b class="{method}">{method.upper()}</b>'
        f" <code>{_text(path)}</code></h3>{_prose(said)}"
        + (f'<p class="quiet">The body is {forms}.</p>' if forms else "")
        + (_table(rows) if rows else "")
        + f"<p>{_answers(operation)}</p></section>"
    )


def _properties(content: Schema) -> list[tuple[str, Schema, bool]]:
    schema = content.get("schema", {})
    required = schema.get("required", ())
    return [(name, field, name in required) for name, field in schema.get("properties", {}).items()]


def _answers(operation: Schema) -> str:
    said = []
    for status, answer in operation["responses"].items():
        if status == "422":
            continue  # FastAPI's own; what is wrong with a field is answered 400 here
        schema = answer.get("content", {}).get(JSON, {}).get("schema", {})
        said.append(f"<b>{_text(status)}</b> {_type(schema) if schema else _text(answer['description'])}")
    return "Answers " + ", ".join(said) + "."


def _object(name: str, schema: Schema) -> str:
    required = schema.get("required", ())
    rows = [_row(key, field, required=key in required) for key, field in schema.get("properties", {}).items()]
    return (
        f'<section id="{_text(name)}"><h3>{_text(_plain(name))}</h3>{_prose(schema.get("description", ""))}'
        f"{_table(rows)}</section>"
    )


def _row(name: str, schema: Schema, *, required: bool, where: str = "") -> str:
    notes = [_text(schema["description"])] if schema.get("description") else []
    if "example" in schema:
        notes.append(f"such as <code>{_text(str(schema['example']))}</code>")
    if schema.get("default") not in (None, ""):
        notes.append(f"else <code>{_text(str(schema['default']))}</code>")
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None or high is not None:
        notes.append(
            f"from {_text(str(low))} to {_text(str(high))}" if high is not None else f"{low} or more"
        )
    mark = ' <span class="required">required</span>' if required and where else ""
    place = f'<td class="quiet">{_text(where)}</td>' if where else ""
    return (
        f"<tr><td><code>{_text(name)}</code>{mark}</td>{place}<td>{_type(schema)}</td>"
        f"<td>{'; '.join(notes)}</td></tr>"
    )


def _table(rows: list[str]) -> str:
    return f'<div class="wide"><table>{"".join(rows)}</table></div>'


def _type(schema: Schema) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f'<a href="#{_text(name)}">{_text(_plain(name))}</a>'
    if "const" in schema:
        return f"<code>{_text(str(schema['const']))}</code>"
    if "enum" in schema:
        return " or ".join(f"<code>{_text(str(value))}</code>" for value in schema["enum"])
    for choice in ("anyOf", "oneOf", "allOf"):
        if choice in schema:
            return " or ".join(_type(one) for one in schema[choice])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    kind = str(schema.get("type", "anything"))
    return _text("file" if schema.get("format") == "binary" else kind)


def _schemas_of_answers(
    described: Schema, operations: list[tuple[str, str, Schema]]
) -> list[tuple[str, Schema]]:
    """The objects that answers are made of, each once, in the order in which they are met."""
    known = described.get("components", {}).get("schemas", {})
    found: dict[str, Schema] = {}

    def follow(node: object) -> None:
        for name in _references(node):
            if name in known and name not in found:
                found[name] = known[name]
                follow(known[name])

    for _method, _path, operation in operations:
        follow([answer for status, answer in operation["responses"].items() if status != "422"])
    return list(found.items())


def _references(node: object) -> Iterator[str]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            if key == "$ref":
                yield str(value).rpartition("/")[2]
            else:
                yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


def _plain(name: str) -> str:
    return name.removesuffix("Out")


def _anchor(operation: Schema) -> str:
    return _text(str(operation["operationId"]))


def _text(text: str) -> str:
    return html.escape(text, quote=True)


def _prose(text: str) -> str:
    paragraphs = [re.sub(r"\s+", " ", part).strip() for part in text.split("\n\n")]
    return "".join(f"<p>{_CODE.sub(_AS_CODE, _text(part))}</p>" for part in paragraphs if part)


# The studio's colours where the pages are served too (/tokens.css); quiet ones of its own where only the API is.
STYLE: Final = """
:root { color-scheme: dark light }
body { margin: 0 auto; max-width: 58rem; padding: 2.5rem 1.25rem 5rem; background: var(--ground, Canvas);
  color: var(--ink, CanvasText); font: 0.9375rem/1.55 var(--sans, system-ui, sans-serif) }
h1 { font-size: 2.125rem; margin: 0 0 .5rem; letter-spacing: -.02em } h2 { font-size: 1.5rem; margin: 3rem 0 1rem }
h3 { font-size: 1.1875rem; margin: 0 0 .5rem; overflow-wrap: anywhere }
section { border-top: 1px solid var(--hairline, #8886); padding: 1.5rem 0 }
code, pre { font-family: var(--mono, ui-monospace, monospace); font-size: .875em }
p { max-width: 72ch; margin: .5rem 0 }
pre { background: var(--raised, #8882); border: 1px solid var(--hairline, #8886); border-radius: 6px; padding: 1rem;
  overflow-x: auto }
a { color: var(--amber-ink, LinkText) }
:focus-visible { outline: 2px solid var(--amber, Highlight); outline-offset: 2px }
b.get, b.post, b.delete { display: inline-block; min-width: 4.5em; font-size: .75rem; letter-spacing: .06em }
b.get { color: var(--cool, inherit) } b.post { color: var(--green, inherit) } b.delete { color: var(--red, inherit) }
.wide { overflow-x: auto } table { border-collapse: collapse; width: 100%; margin: .75rem 0 }
td { border-top: 1px solid var(--hairline, #8886); padding: .4rem .75rem .4rem 0; vertical-align: top }
.quiet { color: var(--ink-3, GrayText) } .required { color: var(--amber-ink, inherit); font-size: .75rem }
ul { list-style: none; padding: 0; columns: 22rem }
li { padding: .15rem 0; break-inside: avoid } li a { text-decoration: none }
"""
_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY: Final = (
    f"default-src 'none'; style-src 'self' 'sha256-{_HASH}'; script-src 'self'; font-src 'self'; img-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>API · $title</title>
<link rel="icon" href="/favicon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/tokens.css">
<style>$style</style>
<script src="/js/theme.js"></script>
</head>
<body>
<header>
<h1>API</h1>
$summary
<p>Send a key with every request; people make keys on the <a href="/account">account page</a>. The same, for machines:
<a href="/v1/openapi.json">openapi.json</a>.</p>
<pre><code>curl $base_url/v1/videos -H "Authorization: Bearer sk-zt-…" \\
  -F prompt="a red circle moving right"</code></pre>
<p>What goes wrong is said as <code>{"error": {"message", "type", "code", "param"}}</code>: the message says what would
be right, <code>param</code> names the field. <code>retry-after</code> and <code>x-should-retry</code> say whether the
same request may succeed later, and <code>x-request-id</code> finds it in the log.</p>
</header>
<nav aria-label="Operations"><h2>Operations</h2><ul>$contents</ul></nav>
<main>$operations<h2>Objects</h2>$objects</main>
</body>
</html>
""")
