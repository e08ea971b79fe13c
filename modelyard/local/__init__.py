"""The whole suite as processes of one machine: `modelyard up`, `down` and `status`."""
