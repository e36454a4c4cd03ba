"""The native engine: models lowered to C, compiled, kept, and run."""
