"""mini-swe-agent (2.4.6), set up as its documentation advises for local models.

- `mini_textbased.yaml` and the `litellm_textbased` model class: its way for models without tool calls, which small
  Qwen2.5-Coder models lack. Prompts, limits and observation templates are its own.
- `local` environment, `yolo` mode, exit at the end: nobody is asked.
- Sampling: it sets none and leaves it to the server; the server of the bench has no defaults of the model, so what the
  model's own generation settings say is sent: temperature 0.7, top-p 0.8, top-k 20. Their repetition penalty is left
  out, since it hurts where code is copied.
- One attempt at a request, not ten: what fails here is a refusal at the budget, and stays one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from peers import Job

NAME = "mini-swe-agent"


class Mini:
    name = NAME

    def files(self, job: Job) -> Mapping[str, str]:
        model = {
            "model_class": "litellm_textbased",
            "model_name": f"openai/{job.model}",
            "cost_tracking": "ignore_errors",
            "model_kwargs": {
                "api_base": job.url, "api_key": "none", "temperature": 0.7, "top_p": 0.8,
                "max_tokens": job.max_tokens, "extra_body": {"top_k": 20},
            },
        }  # fmt: skip
        return {"model.yaml": json.dumps({"model": model})}  # JSON is YAML

    def command(self, job: Job) -> list[str]:
        return [
            f"{job.python}/mini", "-c", "mini_textbased.yaml", "-c", f"{job.settings}/model.yaml", "-y",
            "--exit-immediately", "-l", "0", "-o", "/tmp/trajectory.json", "-t", job.statement,
        ]  # fmt: skip

    def variables(self, job: Job) -> Mapping[str, str]:
        del job
        return {
            "MSWEA_CONFIGURED": "true", "MSWEA_GLOBAL_CONFIG_DIR": "/tmp/mini", "MSWEA_SILENT_STARTUP": "1",
            "MSWEA_COST_TRACKING": "ignore_errors", "MSWEA_MODEL_RETRY_STOP_AFTER_ATTEMPT": "1",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        }  # fmt: skip
