"""The pickle of torch.save, looked at without unpickling: does it build tensors and containers, and nothing else?"""

from __future__ import annotations

import pickletools
import re
import warnings

from modelyard.errors import InvalidInputError

MAX_BYTES = 16 << 20

_OPCODE = re.compile(
    r"PROTO|STOP|MARK|NONE|NEW(TRUE|FALSE)|BININT[12]?|LONG1|BINFLOAT|BINUNICODE|SHORT_BINSTRING"
    r"|EMPTY_(TUPLE|LIST|DICT)|TUPLE[123]?|APPENDS?|SETITEMS?|(LONG_)?BIN(PUT|GET)|GLOBAL|REDUCE|BINPERSID"
)
_GLOBAL = re.compile(
    r"collections OrderedDict"
    r"|torch (\w+Storage|Size|device|b?float\w+|u?int\d+|bool|complex\d+)"
    r"|torch\.storage (Typed|Untyped)Storage"
    r"|torch\._utils _rebuild_(tensor_v2|tensor_v3|parameter)"
)


def check_tensors_only(name: str, data: bytes) -> None:
    """Raise InvalidInputError, with the reason, unless unpickling could call nothing but torch's tensor constructors.

    So it is harmless even to an unpickler that restricts nothing, which torch.export.load falls back to.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escape sequences in names
            for opcode, argument, _ in pickletools.genops(data):
                _check_opcode(name, opcode.name, str(argument))
    except (ValueError, OverflowError) as error:
        raise InvalidInputError(f"{name}: expected a whole pickle: {str(error)[:80]}") from None


def _check_opcode(name: str, opcode: str, argument: str) -> None:
    if not _OPCODE.fullmatch(opcode):
        raise InvalidInputError(f"{name}: expected a pickle of tensors only, got opcode {opcode}")
    if opcode == "GLOBAL" and not _GLOBAL.fullmatch(argument):
        raise InvalidInputError(f"{name}: expected a pickle of tensors only, got {argument[:80]!r}")
