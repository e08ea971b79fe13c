"""The formats of artifacts: what each must look like, and the signature read from it without running its code."""
