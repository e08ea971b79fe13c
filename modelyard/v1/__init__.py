"""The messages of package modelyard.v1, generated from protos/."""
