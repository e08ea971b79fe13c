"""The Open Inference Protocol: its messages in a pool of their own, and its tensors as numpy arrays."""
