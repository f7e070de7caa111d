"""The API's page: every operation and field of the description, nothing from elsewhere, nothing unescaped."""

import base64
import hashlib
import re

from backend.api.app import create_app
from backend.api.reference import POLICY, STYLE, render

DESCRIBED = create_app().openapi()


def test_every_operation_and_each_of_its_fields_is_on_the_page() -> None:
    page = render(DESCRIBED, base_url="http://studio.test")
    for path, methods in DESCRIBED["paths"].items():
        for method, operation in methods.items():
            assert f'<b class="{method}">{method.upper()}</b> <code>{path}</code>' in page
            assert f'id="{operation["operationId"]}"' in page
    for field in ("prompt", "num_inference_steps", "input_reference", "idempotency-key", "file"):
        assert f"<code>{field}</code>" in page
    links = set(re.findall(r'href="#([^"]+)"', page))
    assert links <= set(re.findall(r'id="([^"]+)"', page))
    assert "VideoOut" in links


def test_the_page_loads_nothing_from_elsewhere_and_its_policy_lets_its_style_in() -> None:
    page = render(DESCRIBED, base_url="http://studio.test")
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', page)
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    assert style
    assert style[1] == STYLE
    assert base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode() in POLICY


def test_what_a_description_says_is_escaped() -> None:
    evil = "<script>alert(1)</script>"
    operation = {
        "operationId": "x",
        "description": evil,
        "parameters": [
            {"name": evil, "in": "query", "schema": {"type": evil, "enum": [evil], "description": evil}}
        ],
        "responses": {"200": {"description": evil}},
    }
    described = {"info": {"title": evil, "summary": evil}, "paths": {f"/{evil}": {"get": operation}}}
    assert evil not in render(described, base_url=evil)
