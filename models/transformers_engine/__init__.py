"""The in-process engine over transformers: shared prompts, a batch that stays full, exact log probabilities.

`attention` and `prefixes` hold keys and values, `batch` is the decode loop, `engine` the contract's face,
`scoring` looks at given tokens, `loading` gets weights and adapters ready, `packed` speeds up CPUs. Needs
the `local` extra; import it through `models.open_engine`, which says so where it is missing.
"""

from models.transformers_engine.engine import TransformersEngine
from models.transformers_engine.scoring import TokenScores

__all__ = ["TokenScores", "TransformersEngine"]
