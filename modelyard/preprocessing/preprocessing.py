"""Preprocessing as a whole: fitted, saved, loaded, applied."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from modelyard.catalogue import Signature, TensorSpec
from modelyard.errors import InvalidInputError
from modelyard.preprocessing.decoding import Decoding, Labels, Rescaling
from modelyard.preprocessing.encoding import Encoding, Text
from modelyard.preprocessing.fields import Array
from modelyard.preprocessing.files import DIRECTORY, PREPROCESSING, TOKENIZER, decode, read
from modelyard.preprocessing.options import Options
from modelyard.preprocessing.vocabulary import Vocabulary

_MOST_STEPS = 64


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """preprocessing.json."""

    format: Literal[1]
    inputs: Annotated[tuple[Encoding, ...], msgspec.Meta(max_length=_MOST_STEPS)]
    outputs: Annotated[tuple[Decoding, ...], msgspec.Meta(max_length=_MOST_STEPS)]


class Preprocessing:
    """Encodes a model's inputs and decodes its outputs. What no encoding or decoding names passes as it is.

    Attributes:
        encodings: of inputs.
        decodings: of outputs.
        vocabulary: of the one encoding that is of text, if there is one.
    """

    def __init__(
        self, encodings: Sequence[Encoding], decodings: Sequence[Decoding], vocabulary: Vocabulary | None = None
    ) -> None:
        """Put it together.

        Raises:
            InvalidInputError: two of them take or make something of the same name, there are several encodings of text,
                or one without a vocabulary of its length.
        """
        self.encodings, self.decodings, self.vocabulary = tuple(encodings), tuple(decodings), vocabulary
        _check_distinct("inputs", [name for e in encodings for name in e.takes])
        _check_distinct("inputs of the model", [e.to for e in encodings])
        _check_distinct("outputs of the model", [d.output for d in decodings])
        _check_distinct("outputs", [name for d in decodings for name in d.gives])
        lengths = [e.length for e in encodings if isinstance(e, Text)]
        if lengths != ([vocabulary.length] if vocabulary else []):
            raise InvalidInputError("preprocessing: expected one vocabulary for one encoding of text at most")

    @classmethod
    def fit(cls, columns: Mapping[str, Array], options: Sequence[Options]) -> Preprocessing:
        """Fit to training data.

        Args:
            columns: by name, each [n, ...]; text as bytes or str.
            options: what is to be fitted, see `options`.

        Raises:
            InvalidInputError: a column is missing, or of values that cannot be fitted to; two options clash.
        """
        encodings: list[Encoding] = []
        decodings: list[Decoding] = []
        vocabulary: Vocabulary | None = None
        for option in options:
            step, found = option.fit(columns)
            if isinstance(step, Labels | Rescaling):
                decodings.append(step)
            else:
                encodings.append(step)
            vocabulary = found or vocabulary
        return cls(encodings, decodings, vocabulary)

    def save(self, directory: Path) -> None:
        """Write its files into a directory, which is made if it is not there."""
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in self._texts().items():
            (directory / name).write_text(text, "utf-8")

    @classmethod
    def load(cls, directory: Path) -> Preprocessing:
        """Read what `save` wrote. Nothing in it is executed, whoever wrote it.

        Raises:
            InvalidInputError: a file is missing, too large or corrupt; the message says what was expected.
        """
        return cls._of(lambda name: read(directory, name))

    def to_bytes(self) -> bytes:
        """All of it in one, as a state that ranks and checkpoints share."""
        return msgspec.json.encode(self._texts())

    @classmethod
    def of_bytes(cls, data: bytes) -> Preprocessing:
        """Read what `to_bytes` returned.

        Raises:
            InvalidInputError: as `load`.
        """
        texts = decode(DIRECTORY, data, dict[str, str])
        return cls._of(lambda name: texts.get(name, ""))

    def _texts(self) -> dict[str, str]:
        document = msgspec.json.format(msgspec.json.encode(_Document(1, self.encodings, self.decodings)))
        texts = {PREPROCESSING: document.decode() + "\n"}
        return texts | {TOKENIZER: self.vocabulary.to_json()} if self.vocabulary else texts

    @classmethod
    def _of(cls, read_file: Callable[[str], bytes | str]) -> Preprocessing:
        document = decode(PREPROCESSING, read_file(PREPROCESSING), _Document)
        text = next((e for e in document.inputs if isinstance(e, Text)), None)
        vocabulary = Vocabulary.of_json(read_file(TOKENIZER), text.tokenizer, text.length) if text else None
        return cls(document.inputs, document.outputs, vocabulary)

    @property
    def labels(self) -> Labels | None:
        """The names of the classes, if it knows any."""
        return next((d for d in self.decodings if isinstance(d, Labels)), None)

    def encode(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Return the model's inputs for a batch of rows; each row's depend on that row alone.

        Raises:
            InvalidInputError: an input is missing, or not what was fitted to.
        """
        taken = {name for encoding in self.encodings for name in encoding.takes}
        missing = sorted(taken - inputs.keys())
        if missing:
            got = ", ".join(map(repr, inputs)) or "none"
            raise InvalidInputError(f"missing input {missing[0]!r}; got {got:.500}")
        found = {name: values for name, values in inputs.items() if name not in taken}
        for encoding in self.encodings:
            found[encoding.to] = encoding.encode({name: inputs[name] for name in encoding.takes}, self.vocabulary)
        return found

    def sources(self, outputs: Collection[str]) -> list[str]:
        """The model's outputs that it takes to make some outputs."""
        made = {name: decoding.output for decoding in self.decodings for name in decoding.gives}
        return list(dict.fromkeys(made.get(name, name) for name in outputs))

    def decode(self, outputs: Mapping[str, Array]) -> dict[str, Array]:
        """Return what a caller gets for some outputs of the model.

        Raises:
            ModelExecutionError: an output is not of the shape that was fitted to.
        """
        decodings = {decoding.output: decoding for decoding in self.decodings}
        found: dict[str, Array] = {}
        for name, values in outputs.items():
            found.update(decodings[name].decode(values) if name in decodings else {name: values})
        return found

    def signature(self, model: Signature) -> Signature:
        """What callers send and get, given what the model takes and returns.

        Raises:
            InvalidInputError: the model has no such inputs or outputs, or of other shapes or datatypes.
        """
        inputs = _outer("input", model.inputs, {e.to: e for e in self.encodings})
        return Signature(inputs, _outer("output", model.outputs, {d.output: d for d in self.decodings}))


def _outer(
    side: str, tensors: Sequence[TensorSpec], steps: Mapping[str, Encoding | Decoding]
) -> tuple[TensorSpec, ...]:
    unknown = sorted(steps.keys() - {tensor.name for tensor in tensors})
    if unknown:
        known = ", ".join(tensor.name for tensor in tensors) or "none"
        raise InvalidInputError(f"{DIRECTORY}: expected a model with the {side} {unknown[0]!r}; it has {known:.500}")
    found: list[TensorSpec] = []
    for tensor in tensors:
        found.extend(steps[tensor.name].outer(tensor) if tensor.name in steps else (tensor,))
    _check_distinct(f"{side}s", [tensor.name for tensor in found])
    return tuple(found)


def _check_distinct(kind: str, names: Sequence[str]) -> None:
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidInputError(f"{DIRECTORY}: expected distinct {kind}, got {twice!r} twice")
