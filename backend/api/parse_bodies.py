"""One shape from three encodings: plain multipart, bracketed multipart (`video[id]`), and JSON.

JSON is flattened to the bracketed spelling, so that a route reads one kind of field only. A field comes once.
"""

import asyncio
import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import NoReturn
from urllib.parse import parse_qsl

from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from backend.domain.clean_text import clean_text, shown
from backend.domain.errors import IncompleteBody, InvalidField

MAX_FIELDS = 100
MAX_FIELD_BYTES = 12 * 2**20
MAX_FILES = 4
MAX_PARTS = 10_000
"""Brackets and commas of a JSON body: 12 MiB of nothing else would be parsed for seconds, into a gigabyte."""
PARSED_AT_ONCE_BYTES = 64 * 2**10
"""A larger body is parsed in a thread."""
# As JSON writes them, with a sign; float() itself also takes 1_0, ١٠, nan and inf.
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")


@dataclass(frozen=True, kw_only=True)
class Fields:
    """Parsed fields by name, in the bracketed spelling, and files by field name. Close it by `async with`."""

    values: Mapping[str, str]
    files: Mapping[str, UploadFile]
    bare: frozenset[str] = frozenset()
    """Those that came as a JSON number, true or false: no text."""

    async def close(self) -> None:
        """Delete what was spooled to disk."""
        for file in self.files.values():
            await file.close()

    def text(self, name: str) -> str | None:
        """The field's text as it may be kept, or None when it is absent or empty. Raises `InvalidField`."""
        value = self.values.get(name)
        return clean_text(value, param=name) or None if value else None

    def words(self, name: str) -> str:
        """What a person wrote, or an empty text. Raises `InvalidField`, also for a number that JSON says is one."""
        if name in self.bare:
            raise InvalidField(f"{name} is a text, in quotes.", param=name)
        return self.text(name) or ""

    def raw(self, name: str) -> str | None:
        """The field as it came, for a value of megabytes; None when it is absent or empty."""
        return self.values.get(name) or None

    def integer(self, name: str) -> int | None:
        """A whole number. Raises `InvalidField`."""
        value = self.number(name)
        if value is None:
            return None
        if not value.is_integer():
            raise InvalidField(f"{name} is a whole number, not {value:g}.", param=name)
        # From the text, not from the float: a seed past 2**53 would come out as another one.
        text = (self.text(name) or "").strip()
        return int(text) if text.lstrip("+-").isdecimal() else int(value)

    def number(self, name: str) -> float | None:
        """A finite number. Raises `InvalidField`."""
        text = self.text(name)
        if text is None:
            return None
        written = text.strip()
        value = float(written) if len(written) <= 40 and _NUMBER.fullmatch(written) else math.nan
        if not math.isfinite(value):
            raise InvalidField(f"{name} is a number, not {shown(text)!r}.", param=name)
        return value

    async def digest(self) -> str:
        """Equal for equal fields and files, in hexadecimal."""
        files = {name: await asyncio.to_thread(_digest, file) for name, file in self.files.items()}
        return hashlib.sha256(json.dumps([dict(self.values), files], sort_keys=True).encode()).hexdigest()

    def refuse_unknown(self, known: Collection[str]) -> None:
        """Raises `InvalidField` for a field that would otherwise be ignored silently."""
        for name in (*self.values, *self.files):
            if name not in known:
                fields = ", ".join(sorted(known))
                raise InvalidField(
                    f"There is no field {shown(name)!r} here. Fields: {fields}.", param=shown(name)
                )


async def parse_body(request: Request) -> Fields:
    """Read a create-like request's body. Raises `InvalidField` for one that can't be read, `IncompleteBody`."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return await _multipart(request)
    body = await request.body()
    if not body:
        return Fields(values={}, files={})
    read = _read_urlencoded if kind == "application/x-www-form-urlencoded" else _read_json
    return read(body) if len(body) <= PARSED_AT_ONCE_BYTES else await asyncio.to_thread(read, body)


def _digest(file: UploadFile) -> str:
    file.file.seek(0)
    found = hashlib.file_digest(file.file, "sha256").hexdigest()  # type: ignore[arg-type]  # a spooled file reads as one
    file.file.seek(0)
    return found


def _read_json(body: bytes) -> Fields:
    # Counted first: the parser holds the whole process while it builds what it reads.
    if sum(body.count(sign) for sign in (b"{", b"[", b",")) > MAX_PARTS:
        raise InvalidField(f"A JSON body has {MAX_PARTS} brackets and commas at most.")
    try:
        data = json.loads(body, parse_constant=_no_constant, object_pairs_hook=_Object)
    except (ValueError, RecursionError):
        raise InvalidField("The body is neither multipart/form-data nor JSON that can be read.") from None
    if not isinstance(data, _Object):
        raise InvalidField("The body is a JSON object with the fields of the request.")
    found = _flatten(data)
    _refuse_repeated(name for name, _ in found)
    given = {name: value for name, value in found if value is not None}
    return Fields(
        values={
            name: value if isinstance(value, str) else json.dumps(value) for name, value in given.items()
        },
        files={},
        bare=frozenset(name for name, value in given.items() if not isinstance(value, str)),
    )


class _Object(list[tuple[str, object]]):
    """A JSON object as it was written: a dictionary would keep the last of two equal names."""


def _no_constant(name: str) -> NoReturn:
    """JSON knows no NaN and no Infinity; Python's parser would take them."""
    raise ValueError(name)


def _read_urlencoded(body: bytes) -> Fields:
    try:
        # As text, not as bytes: parse_qsl takes no bytes past ASCII, which curl -d sends as they are.
        pairs = parse_qsl(
            body.decode(), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS, separator="&"
        )
    except UnicodeDecodeError:
        raise InvalidField("The form can't be read: its text is UTF-8, percent-encoded.") from None
    except ValueError:
        raise InvalidField(f"A request has {MAX_FIELDS} fields at most.") from None
    _refuse_repeated(name for name, _ in pairs)
    return Fields(values=dict(pairs), files={})


async def _multipart(request: Request) -> Fields:
    try:
        async with aclosing(request.stream()) as stream:
            form = await _WholeForm(
                request.headers,
                stream,
                max_files=MAX_FILES,
                max_fields=MAX_FIELDS,
                max_part_size=MAX_FIELD_BYTES,
            ).parse()
    except MultiPartException as error:
        raise InvalidField(f"The form can't be read: {error.message}") from None
    values: dict[str, str] = {}
    files: dict[str, UploadFile] = {}
    try:
        _refuse_repeated(name for name, _ in form.multi_items())
    except InvalidField:
        await form.close()
        raise
    for name, value in form.multi_items():
        if isinstance(value, str):
            values[name] = value
        else:
            files[name] = value
    return Fields(values=values, files=files)


class _WholeForm(MultiPartParser):
    """Starlette's parser takes a form that ends in the middle for one with fewer or shorter parts: this one refuses it.

    It also takes UTF-8 alone, where Starlette reads any other bytes as Latin-1.
    """

    _ended = False

    def on_part_end(self) -> None:
        """Keep a part."""
        part = self._current_part
        if part.file is not None:
            super().on_part_end()
            return
        name = shown(part.field_name)
        try:
            self.items.append((part.field_name, part.data.decode()))
        except UnicodeDecodeError:
            raise InvalidField(f"{name} is not text in UTF-8.", param=name) from None

    def on_end(self) -> None:
        """The closing boundary came."""
        self._ended = True

    async def parse(self) -> FormData:
        """The form. Raises `IncompleteBody` for one without its end, `InvalidField` for bytes that are no text."""
        form = await super().parse()
        if not self._ended:
            for file in self._files_to_close_on_error:
                file.close()
            raise IncompleteBody("The form ends in the middle; send it again.")
        return form


def _flatten(data: _Object, prefix: str = "") -> list[tuple[str, str | float | None]]:
    """The object's fields in the bracketed spelling, also those that are null."""
    found: list[tuple[str, str | float | None]] = []
    for key, value in data:
        name = f"{prefix}[{key}]" if prefix else key
        match value:
            case None | str() | bool() | int() | float():
                found.append((name, value))
            case _Object() if not prefix:
                found += _flatten(value, name)
            case _:
                raise InvalidField(
                    f"{shown(name)} has a value of a kind that isn't taken here.", param=shown(name)
                )
        if len(found) > MAX_FIELDS:
            raise InvalidField(f"A request has {MAX_FIELDS} fields at most.")
    return found


def _refuse_repeated(names: Iterable[str]) -> None:
    """Raises `InvalidField` for a field that came twice: nobody can say which was meant."""
    for name, times in Counter(names).items():
        if times > 1:
            raise InvalidField(f"{shown(name)} was given twice: send it once.", param=shown(name))
