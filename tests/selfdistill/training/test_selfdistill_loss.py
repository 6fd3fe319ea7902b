"""The chunked loss is the plain loss, in value and gradient."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the loss needs torch: install the `local` extra")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from forklock.models.contract import Decoding, FirstStage  # noqa: E402
from forklock.models.engines.transformers_engine.sampling import truncated  # noqa: E402
from forklock.selfdistill.training.loss import cross_entropy_sum, truncated_targets  # noqa: E402


@settings(max_examples=40)
@given(
    rows=st.integers(1, 40),
    chunk=st.integers(1, 50),
    with_bias=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_equals_plain_cross_entropy(rows: int, chunk: int, with_bias: bool, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(53, 8, generator=generator, dtype=torch.float64).float()
    bias = torch.randn(53, generator=generator) if with_bias else None
    targets = torch.randint(0, 53, (rows,), generator=generator)
    hidden = torch.randn(rows, 8, generator=generator)
    ours = hidden.clone().requires_grad_()
    plain = hidden.clone().requires_grad_()

    loss = cross_entropy_sum(ours, weight, targets, bias=bias, chunk=chunk)
    logits = torch.nn.functional.linear(plain, weight, bias)
    expected = torch.nn.functional.cross_entropy(logits, targets, reduction="sum")
    (loss * 0.37).backward()
    (expected * 0.37).backward()

    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(ours.grad, plain.grad, rtol=1e-4, atol=1e-5)


@settings(max_examples=40)
@given(
    rows=st.integers(1, 20), chunk=st.integers(1, 30), top_k=st.integers(1, 20), seed=st.integers(0, 2**31)
)
def test_soft_targets_are_the_truncated_distribution(rows: int, chunk: int, top_k: int, seed: int) -> None:
    """The divergence and its gradient, against dense tensors and the sampler's own distribution."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(53, 8, generator=generator)
    teacher = torch.randn(rows, 8, generator=generator)
    hidden = torch.randn(rows, 8, generator=generator)
    cut = FirstStage(temperature=1.6, top_k=top_k, top_p=0.8)
    ours = hidden.clone().requires_grad_()
    plain = hidden.clone().requires_grad_()

    targets = truncated_targets(teacher, weight, cut, chunk=chunk)
    loss = cross_entropy_sum(ours, weight, targets, chunk=chunk) - targets.entropy_sum()
    dense = truncated(teacher @ weight.T, Decoding(temperature=1.6, top_k=top_k, top_p=0.8)).float()
    expected = torch.nn.functional.kl_div((plain @ weight.T).log_softmax(-1), dense, reduction="sum")
    loss.backward()
    expected.backward()

    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(ours.grad, plain.grad, rtol=1e-3, atol=1e-4)


def test_soft_targets_need_a_rank() -> None:
    with pytest.raises(ValueError, match="top-k"):
        truncated_targets(torch.zeros(1, 4), torch.zeros(9, 4), FirstStage(temperature=1.0, top_p=0.8))


def test_peak_memory_is_the_chunk_not_the_batch() -> None:
    """No tensor of (positions x vocabulary) is made: count the widest product that passes through."""
    seen: list[int] = []

    class Watch(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            out = func(*args, **(kwargs or {}))
            if isinstance(out, torch.Tensor) and out.dim() == 2 and out.shape[1] == 997:
                seen.append(out.shape[0])
            return out

    hidden = torch.randn(64, 4, requires_grad=True)
    with Watch():
        cross_entropy_sum(
            hidden, torch.randn(997, 4)[:], torch.zeros(64, dtype=torch.long), chunk=16
        ).backward()
    # `torch.randn(997, 4)` is not 997 wide; only logits are.
    assert seen and max(seen) == 16
