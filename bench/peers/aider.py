"""aider (0.86.2), set up as its documentation advises for small local models.

- `--edit-format whole`: the format of its own table for the small Qwen2.5-Coder models, and its default for models that
  it does not know. The file with the bug is in the chat; the test is there to read.
- `--auto-test --test-cmd`: it runs the check after each edit and answers a failure up to three times.
- Temperature: its default is 0. A second try at 0 would repeat the first, so further tries take 0.7 with top-p 0.8 and
  top-k 20, which is the model card's advice and what aider sets for Qwen3 itself.
- `--map-tokens 0`: its advice for weak models is to send less that distracts.
- No commits, updates, analytics or links: they have nothing to do with the task.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from peers import Job

NAME = "aider"


class Aider:
    name = NAME

    def files(self, job: Job) -> Mapping[str, str]:
        model = f"openai/{job.model}"
        extra: dict[str, object] = {"max_tokens": job.max_tokens}
        if job.number:
            extra |= {"top_p": 0.8, "extra_body": {"top_k": 20}}
        settings = {
            "name": model, "edit_format": "whole", "use_repo_map": False, "extra_params": extra,
            "use_temperature": 0.7 if job.number else True,
        }  # fmt: skip
        # Known models are not looked up in the network.
        metadata = {
            "max_input_tokens": job.context_tokens, "max_output_tokens": job.max_tokens, "mode": "chat",
            "max_tokens": job.max_tokens, "litellm_provider": "openai", "input_cost_per_token": 0,
            "output_cost_per_token": 0,
        }  # fmt: skip
        return {
            "models.yml": json.dumps([settings]),  # JSON is YAML
            "metadata.json": json.dumps({model: metadata}),
            "message.md": job.statement,
        }

    def command(self, job: Job) -> list[str]:
        words = [
            f"{job.python}/aider", "--model", f"openai/{job.model}", "--edit-format", "whole",
            "--model-settings-file", f"{job.settings}/models.yml",
            "--model-metadata-file", f"{job.settings}/metadata.json", "--message-file", f"{job.settings}/message.md",
            "--yes-always", "--auto-test", "--test-cmd", job.test, "--no-auto-commits", "--no-dirty-commits",
            "--map-tokens", "0", "--no-gitignore", "--no-suggest-shell-commands", "--no-detect-urls",
            "--no-check-update", "--no-show-release-notes", "--analytics-disable", "--no-show-model-warnings",
            "--no-pretty", "--no-fancy-input", "--input-history-file", "/dev/null", "--chat-history-file", "/dev/null",
        ]  # fmt: skip
        words += ["--read", job.test_file] if job.test_file else []
        return [*words, job.file]

    def variables(self, job: Job) -> Mapping[str, str]:
        return {
            "OPENAI_API_BASE": job.url, "OPENAI_API_KEY": "none", "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "NO_COLOR": "1",
        }  # fmt: skip
