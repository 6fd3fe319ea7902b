"""NaN and infinity in a safetensors file are found, in each float type and at each place."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from forklock.models.catalogue import safetensors_header
from forklock.models.catalogue.safetensors_header import TensorInfo, require_finite
from forklock.models.contract import ModelFault

DTYPES = {"F64": ("d", 8), "F32": ("f", 4), "F16": ("e", 2), "BF16": ("f", 2)}


def is_finite(dtype: str, number: bytes) -> bool:
    kind = DTYPES[dtype][0]
    whole = b"\0\0" + number if dtype == "BF16" else number  # the upper half of a 32-bit float
    return math.isfinite(struct.unpack(f"<{kind}", whole)[0])


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.binary(min_size=8, max_size=64), special=st.booleans())
@example(data=b"\xff\x7f" * 8, special=False)
@example(data=b"\x7f\xff" * 8, special=False)
def test_agrees_with_what_the_bytes_mean(
    tmp_path_factory: pytest.TempPathFactory, dtype: str, data: bytes, special: bool
) -> None:
    width = DTYPES[dtype][1]
    if special:  # random bytes are rarely NaN or infinity
        data = data[: -(len(data) % width) or None][:-width] + struct.pack("<d", math.inf)[-width:]
    numbers = data[: len(data) // width * width]
    path = tmp_path_factory.mktemp("f") / "one.safetensors"
    path.write_bytes(b"head" + numbers)
    tensor = TensorInfo("w", dtype, (len(numbers) // width,), 4, len(numbers))
    if all(is_finite(dtype, numbers[at : at + width]) for at in range(0, len(numbers), width)):
        require_finite(path, [tensor])
    else:
        with pytest.raises(ModelFault, match="NaN or infinity"):
            require_finite(path, [tensor])


def test_the_last_number_of_a_long_tensor_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safetensors_header, "_BLOCK", 64)
    path = tmp_path / "one.safetensors"
    numbers = [1.5] * 100 + [math.nan]
    path.write_bytes(struct.pack("<101f", *numbers))
    with pytest.raises(ModelFault, match="'w' holds NaN"):
        require_finite(path, [TensorInfo("w", "F32", (101,), 0, 404)])
    require_finite(path, [TensorInfo("w", "F32", (100,), 0, 400), TensorInfo("i", "I32", (1,), 400, 4)])
