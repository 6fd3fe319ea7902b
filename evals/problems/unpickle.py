"""evals: reads the one string that a LiveCodeBench record hides in a pickle, without unpickling.

Input: `base64(zlib(pickle.dumps(json_text)))`. Output: `json_text`. `pickletools` parses the pickle as data. Any opcode
that is not needed for one text string is rejected, so nothing is imported, called or built. Not covered: pickles of
anything but one `str`.
"""

from __future__ import annotations

import base64
import binascii
import pickletools
import zlib

MAX_BYTES = 1 << 29
"""Largest size of one record's tests, decompressed; LiveCodeBench's largest is well below."""

_STRINGS = frozenset({"UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"})
_HARMLESS = frozenset({"PROTO", "FRAME", "MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT", "STOP"})


def pickled_text(data: bytes) -> str:
    """Return the single string of a pickle.

    Raises:
        ValueError: this is no pickle, or a pickle of anything but one string.
    """
    texts: list[str] = []
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name in _STRINGS and isinstance(argument, str):
                texts.append(argument)
            elif opcode.name not in _HARMLESS:
                raise ValueError(f"refused pickle opcode {opcode.name}: only one plain string is accepted")
    except ValueError:
        raise
    except Exception as error:  # genops raises many types of exceptions on torn input
        raise ValueError(f"not a pickle: {error}") from error
    if len(texts) != 1:
        raise ValueError(f"the pickle holds {len(texts)} strings, expected one")
    return texts[0]


def packed_text(packed: str) -> str:
    """Return the text in `base64(zlib(pickle(text)))`.

    Raises:
        ValueError: a layer is damaged, too large, or of another format.
    """
    try:
        compressed = base64.b64decode(packed, validate=True)
        unpacker = zlib.decompressobj()
        data = unpacker.decompress(compressed, MAX_BYTES)
    except (binascii.Error, zlib.error) as error:
        raise ValueError(f"not base64 of zlib: {error}") from error
    if unpacker.unconsumed_tail:
        raise ValueError(f"tests decompress to more than {MAX_BYTES} bytes")
    if not unpacker.eof:
        raise ValueError("the compressed tests are cut short")
    return pickled_text(data)
