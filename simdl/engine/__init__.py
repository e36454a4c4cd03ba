"""The torch engine: the reference semantics, eager, all lanes at once, differentiable."""
