"""The content of a hub's answer, once it is certain that it is the file or the rest of it.

A firewall's block page or a network's login page comes with status 200 too. Written as the start of
the weights it would cost the whole download.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain
from typing import Final

import httpx2

_RANGE: Final = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_PAGE_TYPES: Final = ("text/html", "application/xhtml", "multipart/")
_PAGE_STARTS: Final = (b"<!doctype", b"<html", b"<head", b"<body", b"<meta", b"<script", b"<?xml")
# 8 bytes of header length, and the first byte of the header: https://huggingface.co/docs/safetensors
_HEAD_BYTES: Final = 9
_WEIGHTS: Final = ".safetensors"


class TruncatedError(Exception):
    """A response ended normally, or announced to end, before the end of the file."""


class OtherContentError(Exception):
    """A response is not the file, such as a block page; `host` sent it."""

    def __init__(self, host: str) -> None:
        super().__init__(host)
        self.host = host


def content(
    response: httpx2.Response, name: str, size_bytes: int, first_byte: int
) -> Iterator[bytes]:
    """Yield the bytes of file `name`, of `size_bytes`, from `first_byte` on, and not more.

    Raise OtherContentError or TruncatedError before the first byte if the answer announces, or
    begins with, something else.
    """
    start = _start(response, size_bytes, first_byte)
    length = _length(response)
    if length is not None and length > size_bytes - start:
        raise OtherContentError(response.url.host)
    pieces = response.iter_bytes()
    head = b""
    for piece in pieces:
        head += piece
        if len(head) >= _HEAD_BYTES:
            break
    if head and not _may_be_of_file(head, name, size_bytes, start):
        raise OtherContentError(response.url.host)
    if length is not None and length < size_bytes - start and response.status_code != 206:
        raise TruncatedError
    at = start
    for piece in chain([head], pieces):
        wanted = piece[max(0, first_byte - at) : max(0, size_bytes - at)]
        at += len(piece)
        if wanted:
            yield wanted
        if at >= size_bytes:
            return


def _start(response: httpx2.Response, size_bytes: int, first_byte: int) -> int:
    """Return the position in the file of the answer's first byte, at most `first_byte`."""
    headers, host = response.headers, response.url.host
    content_type = headers.get("Content-Type", "").lower()
    if content_type.startswith(_PAGE_TYPES) or response.status_code not in (200, 203, 206):
        raise OtherContentError(host)
    start = 0
    if response.status_code == 206:
        found = _RANGE.fullmatch(headers.get("Content-Range", "").strip())
        if found is None or found[3] not in (str(size_bytes), "*"):
            raise OtherContentError(host)
        start = int(found[1])
        if start > first_byte:
            raise OtherContentError(host)
    return start


def _length(response: httpx2.Response) -> int | None:
    """Return the announced number of bytes; of compressed content it would be another one."""
    length = response.headers.get("Content-Length", "")
    is_plain = response.headers.get("Content-Encoding", "identity") == "identity"
    return int(length) if is_plain and length.isdecimal() else None


def _may_be_of_file(head: bytes, name: str, size_bytes: int, start: int) -> bool:
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(_PAGE_STARTS):
        return False
    if start == 0 and name.endswith(_WEIGHTS):
        header_bytes = int.from_bytes(head[:8], "little")
        return len(head) >= _HEAD_BYTES and header_bytes < size_bytes and head[8:9] == b"{"
    return True
