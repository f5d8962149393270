"""Signatures of calls and of requests for tokens, as the data service wants them.

Pure: texts in, digests out. Who signs what and when is in :mod:`wattline.auth`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable


def token_encryption(access_key: str, timestamp_ms: int, secret: str) -> str:
    """Compute ``encryption`` of a request for a token."""
    return _digest(f"{access_key}{timestamp_ms}{secret}".encode())


def params_data(query: Iterable[tuple[str, str]], body: bytes) -> bytes:
    """Join the parameters of the query, by name, and then the JSON body as it is sent."""
    pairs = sorted(query, key=lambda pair: pair[0])
    return "".join(name + value for name, value in pairs).encode() + body


def call_signature(token: str, query: Iterable[tuple[str, str]], body: bytes, timestamp_ms: int, secret: str) -> str:
    """Compute ``apim-signature`` of a call."""
    return _digest(token.encode() + params_data(query, body) + f"{timestamp_ms}{secret}".encode())


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
