"""One suite for every engine: what the contract promises, on real engines over their real wires.

Fast: the in-process engine on a tiny random model, and LiteLLM over HTTP to a server around it (as a plain
server and as one with vLLM's extensions). Marked `vllm` and `real`: a vLLM server with SmolLM2-135M, the
vLLM engine and LiteLLM on it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from openai_server import serve

from forklock.models import Completion, Decoding, Engine, FinishReason, FirstStage, ModelFault, Request
from forklock.models.engines.open import ENGINES

FAST = ("transformers", "hosted-plain", "hosted-extended")
REAL = tuple(
    pytest.param(name, marks=(pytest.mark.vllm, pytest.mark.real, pytest.mark.timeout(900)))
    for name in ("vllm", "hosted-vllm")
)
CHAT = Request.chat("Say something about cats.")
TEXT = Request(text="def add(a, b):")
GREEDY = Decoding(temperature=0, max_tokens=12)
DRAWN = Decoding(temperature=1.0, max_tokens=12, n=3, seed=7)


@pytest.fixture(scope="module")
def in_process(tiny_model_dir: Path) -> Iterator[Engine]:
    from forklock.models.engines.transformers_engine import TransformersEngine

    with TransformersEngine.open(tiny_model_dir, threads=1) as engine:
        yield engine


@pytest.fixture(scope="module")
def vllm_server_engine() -> Iterator[Engine]:
    """FORKLOCK_TEST_SMOLLM2 may name the folder; else the pulled model is taken."""
    from forklock.models.engines.vllm import install as vllm_install
    from forklock.models.engines.vllm.opening import open_vllm

    if vllm_install.find() is None:
        pytest.skip(f"no vLLM environment: run {vllm_install.INSTALL_COMMAND}")
    try:
        # Not compiled, it starts in a fraction of the time; test_models_vllm has a server that is.
        model = os.environ.get("FORKLOCK_TEST_SMOLLM2", "smollm2-135m")
        engine = open_vllm(model, extra=("--enforce-eager",))
    except ModelFault as fault:
        if "not on this machine" in fault.message:
            pytest.skip(f"{fault.message} {fault.fix}")
        raise
    with engine:
        yield engine


@pytest.fixture(scope="module", params=[*FAST, *REAL])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    from forklock.models.engines.hosted.opening import open_hosted

    if request.param == "transformers":
        yield request.getfixturevalue("in_process")
    elif request.param == "vllm":
        yield request.getfixturevalue("vllm_server_engine")
    elif request.param == "hosted-vllm":
        with open_hosted(request.getfixturevalue("vllm_server_engine").url) as opened:
            yield opened
    else:
        flavour = "vllm" if request.param == "hosted-extended" else "plain"
        in_process = request.getfixturevalue("in_process")
        with serve(in_process, flavour=flavour) as server, open_hosted(server.url) as opened:
            yield opened


def gives_ids(engine: Engine) -> bool:
    """All but LiteLLM on a server without vLLM's extensions."""
    from forklock.models.engines.hosted.engine import HostedEngine

    return not isinstance(engine, HostedEngine) or engine._route.extended


def test_shapes_follow_requests_and_n(engine: Engine) -> None:
    results = engine.complete([CHAT, TEXT], DRAWN)
    assert [len(samples) for samples in results] == [3, 3]
    assert all(sample.model == engine.identity for samples in results for sample in samples)
    assert engine.complete([], DRAWN) == []


def test_greedy_repeats_itself(engine: Engine) -> None:
    [[first]] = engine.complete([CHAT], GREEDY)
    [[again]] = engine.complete([CHAT], GREEDY)
    assert (first.text, first.token_ids) == (again.text, again.token_ids)


def test_max_tokens_bounds_and_is_reported(engine: Engine) -> None:
    for sample in engine.complete([TEXT], DRAWN)[0]:
        assert 1 <= sample.completion_tokens <= 12
        assert (sample.finish_reason is FinishReason.LENGTH) <= (sample.completion_tokens == 12)


def test_a_stop_string_ends_the_sample_and_is_cut_off(engine: Engine) -> None:
    [[whole]] = engine.complete([TEXT], GREEDY)
    stop = whole.text[len(whole.text) // 2 :][:2]
    assert stop, "the greedy answer is too short to test with"
    [[cut]] = engine.complete([TEXT], GREEDY.model_copy(update={"stop": (stop,)}))
    assert cut.text == whole.text[: whole.text.index(stop)]
    assert cut.finish_reason is FinishReason.STOP
    [[own]] = engine.complete([TEXT.model_copy(update={"stop": (stop,)})], GREEDY)
    assert (own.text, own.finish_reason) == (cut.text, FinishReason.STOP), "a request may bring its own"
    other = TEXT.model_copy(update={"stop": ("never written here",)})
    [[one], [same]] = engine.complete([TEXT.model_copy(update={"stop": (stop,)}), other], GREEDY)
    assert stop not in one.text
    assert same.text.startswith(one.text), "and it ends that request alone"
    assert same.completion_tokens >= one.completion_tokens


@pytest.mark.parametrize("request_", [CHAT, TEXT], ids=["chat", "text"])
def test_prompt_tokens_agree_with_count_tokens(engine: Engine, request_: Request) -> None:
    [[sample]] = engine.complete([request_], GREEDY)
    counted = engine.count_tokens(request_)
    exact = gives_ids(engine)
    if exact:
        assert counted == sample.prompt_tokens
    else:
        assert counted > 0


def test_ids_and_logprobs_are_one_per_token(engine: Engine) -> None:
    for sample in engine.complete([CHAT], DRAWN)[0]:
        if sample.token_ids is not None:
            assert len(sample.token_ids) == sample.completion_tokens
        if sample.logprobs is not None:
            assert len(sample.logprobs) == sample.completion_tokens
            assert all(value <= 1e-6 for value in sample.logprobs)
    if gives_ids(engine):
        [[sample]] = engine.complete([CHAT], GREEDY)
        assert sample.token_ids is not None and sample.logprobs is not None


def test_logprobs_are_of_temperature_one_untruncated(engine: Engine) -> None:
    """Greedy and a cold, truncated draw that took the same tokens must report the same log probabilities."""
    [[greedy]] = engine.complete([TEXT], GREEDY)
    if greedy.logprobs is None:
        return
    cold = GREEDY.model_copy(update={"temperature": 0.3, "top_k": 1})
    [[drawn]] = engine.complete([TEXT], cold)
    same = same_until_a_tie(drawn, greedy)
    assert drawn.logprobs is not None
    assert drawn.logprobs[:same] == pytest.approx(greedy.logprobs[:same], abs=0.05)


def same_until_a_tie(drawn: Completion, greedy: Completion) -> int:
    """How many tokens two draws of the likeliest share. Only two that are as likely may part them.

    In bf16 two tokens often have the same logit: truncation to one then keeps both, and the draw decides.
    """
    ours, theirs = drawn.token_ids, greedy.token_ids
    assert ours and theirs and drawn.logprobs is not None and greedy.logprobs is not None
    pairs = zip(ours, theirs, drawn.logprobs, greedy.logprobs, strict=False)
    parted = next(((n, a, b) for n, (x, y, a, b) in enumerate(pairs) if x != y), None)
    if parted is None:
        assert len(ours) == len(theirs)
        return len(ours)
    same, ours_is, theirs_is = parted
    assert ours_is == pytest.approx(theirs_is, abs=0.01), "not the likeliest token"
    return same


def alike(drawn: Completion, greedy: Completion) -> None:
    if drawn.token_ids is not None and drawn.logprobs is not None:
        same_until_a_tie(drawn, greedy)
    else:
        assert drawn.text == greedy.text


def test_top_k_one_is_greedy_or_a_fault(engine: Engine) -> None:
    decoding = GREEDY.model_copy(update={"temperature": 1.5, "top_k": 1})
    [[greedy]] = engine.complete([CHAT], GREEDY)
    try:
        [[drawn]] = engine.complete([CHAT], decoding)
    except ModelFault as fault:
        assert "top_k" in fault.message and not gives_ids(engine)
    else:
        alike(drawn, greedy)


def test_a_greedy_request_is_greedy_beside_others_that_are_drawn(engine: Engine) -> None:
    [[greedy]] = engine.complete([CHAT], GREEDY)
    hot = GREEDY.model_copy(update={"temperature": 1.8, "n": 2, "seed": 3})
    drawn, own = engine.complete([CHAT, CHAT.model_copy(update={"greedy": True})], hot)
    for sample in own:
        alike(sample, greedy)
    assert any(sample.text != greedy.text for sample in drawn)


def test_a_tiny_nucleus_is_greedy(engine: Engine) -> None:
    [[greedy]] = engine.complete([CHAT], GREEDY)
    [[drawn]] = engine.complete([CHAT], GREEDY.model_copy(update={"temperature": 1.0, "top_p": 1e-6}))
    alike(drawn, greedy)


def test_every_engine_of_the_list_is_in_this_suite() -> None:
    names = [str(value) for name in (*FAST, *REAL) for value in getattr(name, "values", [name])]
    assert {name.partition("-")[0] for name in names} == set(ENGINES)


def test_what_else_might_have_been_written(engine: Engine) -> None:
    """Of the likeliest answer every rival is less likely, and a forced rival is what the text then holds."""
    [[greedy]] = engine.complete([CHAT], GREEDY)
    if not engine.supports_alternatives:
        with pytest.raises(ModelFault, match="might have written"):
            engine.alternatives(CHAT, greedy.text)
        return
    found = engine.alternatives(CHAT, greedy.text, top_k=20)
    assert {a.start for a in found} <= set(range(len(greedy.text)))
    starts = [a.start for a in found]
    assert starts == sorted(starts) and 1 <= max(map(starts.count, starts)) <= 20
    for one in found:
        assert greedy.text[one.start :].startswith(one.replaced)
        assert one.text != one.replaced and one.logprob <= 0
    assert greedy.logprobs is not None
    for start in starts:
        here = [a.logprob for a in found if a.start == start]
        assert here == sorted(here, reverse=True)
    assert all(a.logprob <= greedy.logprobs[0] + 0.05 for a in found if a.start == 0)
    assert engine.alternatives(CHAT, "") == []


@pytest.mark.parametrize("temperature", [0.0, 0.3])
def test_virtual_ssd_is_honoured_or_a_fault(engine: Engine, temperature: float) -> None:
    """A first stage that keeps one token is greedy, whatever the second one does."""
    decoding = GREEDY.model_copy(
        update={"temperature": temperature, "virtual_ssd": FirstStage(temperature=1.6, top_k=1)}
    )
    [[greedy]] = engine.complete([CHAT], GREEDY)
    if engine.supports_virtual_ssd:
        assert engine.complete([CHAT], decoding)[0][0].text == greedy.text
        assert "".join(engine.stream(CHAT, decoding)) == greedy.text
        return
    with pytest.raises(ModelFault, match="two stages"):
        engine.complete([CHAT], decoding)
    with pytest.raises(ModelFault, match="two stages"):
        list(engine.stream(CHAT, decoding))


def test_a_seed_repeats_and_samples_differ(engine: Engine) -> None:
    [first] = engine.complete([CHAT], DRAWN)
    [again] = engine.complete([CHAT], DRAWN)
    if getattr(engine, "honours_seed", True):
        assert [sample.text for sample in first] == [sample.text for sample in again]
    assert len({sample.text for sample in first}) > 1


@pytest.mark.vllm
@pytest.mark.real
@pytest.mark.timeout(900)
def test_a_seed_serves_prompts_that_together_are_long(vllm_server_engine: Engine) -> None:
    """vLLM prefills in pieces what does not fit one batch (2,048 tokens). On a CPU, pieces with a seed ended it."""
    prompts = [Request(text=f"{number}" + " cat" * 1300) for number in range(4)]
    results = vllm_server_engine.complete(prompts, DRAWN.model_copy(update={"max_tokens": 2}))
    assert [len(samples) for samples in results] == [3] * 4


def test_equal_requests_draw_differently(engine: Engine) -> None:
    one = DRAWN.model_copy(update={"n": 1})
    [[first], [second]] = engine.complete([CHAT, CHAT], one)
    assert first.text != second.text


def test_a_prompt_that_does_not_fit_is_a_fault(engine: Engine) -> None:
    words = "word " * (engine.context_tokens * 2)
    with pytest.raises(ModelFault):
        engine.complete([Request.chat(words)], GREEDY)
    assert engine.complete([CHAT], GREEDY)[0][0].completion_tokens >= 1


def test_callbacks_hear_each_sample_once(engine: Engine) -> None:
    seen: dict[tuple[int, int], str] = {}
    tokens = 0

    def on_tokens(count: int) -> None:
        nonlocal tokens
        tokens += count

    def on_completion(request: int, sample: int, completion: object) -> None:
        assert (request, sample) not in seen
        seen[request, sample] = completion.text  # type: ignore[attr-defined]

    results = engine.complete([CHAT, TEXT], DRAWN, on_tokens=on_tokens, on_completion=on_completion)
    assert seen == {(r, s): c.text for r, samples in enumerate(results) for s, c in enumerate(samples)}
    assert tokens == sum(sample.completion_tokens for samples in results for sample in samples)


def test_a_callback_may_stop_the_batch(engine: Engine) -> None:
    class Enough(Exception):
        pass

    def stop(*_: object) -> None:
        raise Enough

    with pytest.raises(Enough):
        engine.complete([CHAT, TEXT], DRAWN, on_completion=stop)
    assert engine.complete([CHAT], GREEDY)[0][0].completion_tokens >= 1


@pytest.mark.parametrize("request_", [CHAT, TEXT], ids=["chat", "text"])
def test_streamed_pieces_join_to_the_whole(engine: Engine, request_: Request) -> None:
    [[whole]] = engine.complete([request_], GREEDY)
    assert "".join(engine.stream(request_, GREEDY)) == whole.text


def test_a_prefill_is_continued_or_refused(engine: Engine) -> None:
    request = Request.chat("Count.", prefill="One, two,")
    if not engine.supports_prefill:
        with pytest.raises(ModelFault):
            engine.complete([request], GREEDY)
        return
    [[sample]] = engine.complete([request], GREEDY)
    assert not sample.text.startswith("One, two,")
    assert sample.prompt_tokens > engine.complete([Request.chat("Count.")], GREEDY)[0][0].prompt_tokens


def test_control_strings_of_a_repo_change_no_roles(engine: Engine) -> None:
    if engine.identity.engine == "hosted":
        return  # The other side renders the prompt.
    plain = engine.count_tokens(Request.chat("ab"))
    assert engine.count_tokens(Request.chat("a<|im_end|>b")) > plain + 1
