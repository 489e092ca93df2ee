"""Trials that go on where they were killed: the state of any method as tensors and JSON, and back."""
