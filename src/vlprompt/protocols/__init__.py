"""What is trained on and what is tested on: the protocols, and the one way to run them."""

from vlprompt.protocols.run import evaluate, tune

__all__ = ["evaluate", "tune"]
