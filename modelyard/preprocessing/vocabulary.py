"""Vocabularies: tokens and their ids, as the tokenizers library fits and applies them.

Of a tokenizer.json the tokens, and the merges of BPE, are read, and nothing else: what else the file may say (patterns
to split by, normalisers) is always what this module says. So one that was made to do harm can do no more than have
strange tokens, and any other program that reads such files gets the same ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import msgspec
import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from modelyard.errors import InvalidInputError
from modelyard.preprocessing.fields import Array
from modelyard.preprocessing.files import TOKENIZER, decode

PADDING, UNKNOWN = "<pad>", "<unk>"
PADDING_ID, UNKNOWN_ID = 0, 1
MAX_TOKENS = 1 << 20
_SPECIAL = [PADDING, UNKNOWN]
Kind = Literal["word", "bpe"]
"""Words and single punctuation marks; or byte-pair encoding of bytes (Sennrich et al. 2016), which knows all text."""
Merges = list[tuple[str, str]]


class Vocabulary:
    """Tokens with ids from 0 on: 0 is padding, 1 what is unknown. Threads may share it.

    Attributes:
        size: how many tokens there are: the rows of an embedding.
        length: how many ids every text gets.
    """

    def __init__(self, kind: Kind, tokens: dict[str, int], merges: Merges, length: int) -> None:
        """Take tokens.

        Raises:
            InvalidInputError: ids are not 0, 1, ... with the special tokens first, or a merge is not of tokens.
        """
        _check(tokens, merges)
        self.size, self.length = len(tokens), length
        self._tokenizer = Tokenizer(_model(kind, tokens, merges))
        self._tokenizer.pre_tokenizer = _splitting(kind)
        self._tokenizer.enable_truncation(length)
        self._tokenizer.enable_padding(length=length, pad_id=PADDING_ID, pad_token=PADDING)

    def ids(self, texts: Sequence[str]) -> Array:
        """Return INT64 [n, length]: texts that are longer are cut, others are padded with 0."""
        found = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return np.array([encoding.ids for encoding in found], np.int64).reshape(len(texts), self.length)

    def to_json(self) -> str:
        """The contents of a tokenizer.json."""
        return self._tokenizer.to_str()

    @classmethod
    def of_json(cls, text: bytes | str, kind: Kind, length: int) -> Vocabulary:
        """Read the contents of a tokenizer.json.

        Raises:
            InvalidInputError: it is corrupt, or of another kind.
        """
        model = decode(TOKENIZER, text, _File).model
        if not isinstance(model, _BytePairs if kind == "bpe" else _Words):
            raise InvalidInputError(f"{TOKENIZER}: expected a vocabulary of kind {kind!r}, got another kind")
        return cls(kind, model.vocab, model.merges if isinstance(model, _BytePairs) else [], length)


def fit(texts: Iterable[str], kind: Kind, size: int, least: int, length: int) -> Vocabulary:
    """Return the vocabulary of texts: the same for the same texts.

    Args:
        texts: clean.
        kind: how they are split.
        size: how many tokens at most; BPE has 258 at least.
        least: how often a token has to come.
        length: how many ids every text gets.
    """
    trainer = (
        trainers.WordLevelTrainer(vocab_size=size, min_frequency=least, special_tokens=_SPECIAL, show_progress=False)
        if kind == "word"
        else trainers.BpeTrainer(
            vocab_size=size,
            min_frequency=least,
            special_tokens=_SPECIAL,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
    )
    fitted = Tokenizer(_model(kind, {PADDING: PADDING_ID, UNKNOWN: UNKNOWN_ID}, []))
    fitted.pre_tokenizer = _splitting(kind)
    fitted.train_from_iterator(texts, trainer)
    return Vocabulary.of_json(fitted.to_str(), kind, length)


class _Words(msgspec.Struct, tag="WordLevel", tag_field="type"):
    vocab: dict[str, int]


class _BytePairs(msgspec.Struct, tag="BPE", tag_field="type"):
    vocab: dict[str, int]
    merges: Merges


class _File(msgspec.Struct):
    """What is read of a tokenizer.json."""

    model: _Words | _BytePairs


def _check(tokens: dict[str, int], merges: Merges) -> None:
    if not 2 <= len(tokens) <= MAX_TOKENS or sorted(tokens.values()) != list(range(len(tokens))):
        raise InvalidInputError(f"{TOKENIZER}: expected 2 to {MAX_TOKENS} tokens with the ids 0, 1, 2, ...")
    if (tokens.get(PADDING), tokens.get(UNKNOWN)) != (PADDING_ID, UNKNOWN_ID):
        raise InvalidInputError(f"{TOKENIZER}: expected {PADDING} with the id 0 and {UNKNOWN} with the id 1")
    for left, right in merges:
        if not {left, right, left + right} <= tokens.keys():
            raise InvalidInputError(f"{TOKENIZER}: expected merges of tokens, got {left!r:.40} and {right!r:.40}")


def _model(kind: Kind, tokens: dict[str, int], merges: Merges) -> Any:
    if kind == "word":
        return models.WordLevel(tokens, unk_token=UNKNOWN)
    return models.BPE(tokens, merges, unk_token=UNKNOWN)


def _splitting(kind: Kind) -> Any:
    return pre_tokenizers.Whitespace() if kind == "word" else pre_tokenizers.ByteLevel(add_prefix_space=True)
