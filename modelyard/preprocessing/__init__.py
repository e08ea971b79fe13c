"""What is fitted to training data and travels with a version as data: encodes a model's inputs, decodes its outputs.

The same code runs in training and in the runner. It needs numpy, msgspec and the tokenizers library, and no torch.
`preprocessing.Preprocessing` is fitted, saved and loaded; `options` says what is to be fitted. What lies in an artifact
is plain JSON (`files`), of which no part is ever executed.
"""
