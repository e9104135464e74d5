"""A reader of pickles that cannot run anything.

A pickle is a program for a small stack machine, and Python's own reader lets it call any function there is. This one
knows a closed list of things to build: plain containers, numpy arrays, and what a caller adds. Everything else is
refused by name, except for classes known to be harmless baggage, which become inert `Placeholder`s. Nothing named in
a file is ever imported, looked up or called.

Source: the opcodes' meaning as Python's documentation of pickle and pickletools gives it; the code is our own.
"""

from __future__ import annotations

import pickle
import struct
from collections import OrderedDict
from collections.abc import Callable, Mapping

import numpy as np

from mocap3d.formats.safe_files.plain import (
    BAGGAGE,
    GLOBALS,
    Budget,
    Global,
    Placeholder,
    UnsafeFileError,
    check_key,
    describe,
    fill_array,
    reconstruct,
    set_order,
)

DEEPEST = 200  # containers inside each other


class Unpickler:
    """Reads one pickle after another from a buffer.

    Args:
        data: bytes or a memory map; `pos` is where the next pickle starts.
        budget: what may be allocated.
        known: what may be built beside GLOBALS, by (module, name).
        persistent: builds what the file calls by a persistent id; None refuses them.
    """

    def __init__(
        self,
        data: bytes,
        budget: Budget,
        known: Mapping[tuple[str, str], Global] | None = None,
        persistent: Callable[[object], object] | None = None,
    ) -> None:
        self.data, self.end, self.pos = data, len(data), 0
        self.budget, self.spend = budget, budget.spend
        self.known = GLOBALS | (known or {})
        self.persistent = persistent

    def load(self) -> object:
        """The next object; `pos` is behind its pickle afterwards."""
        self.stack: list = []
        self.marks: list[list] = []
        self.memo: dict[int, object] = {}
        self.unbuilt: dict[int, np.ndarray] = {}  # arrays that wait for their shape and data
        data, end, stop = self.data, self.end, pickle.STOP[0]
        while True:
            if self.pos >= end:
                raise UnsafeFileError("it ends in the middle of a pickle")
            code = data[self.pos]
            self.pos += 1
            if code == stop:
                break
            if code not in OPERATIONS:
                raise UnsafeFileError(f"byte {self.pos - 1} is {code}, which no pickle may hold here")
            OPERATIONS[code](self)
        result = self.stack.pop()
        _check_depth(result)
        return result

    def take(self, count: int) -> bytes:
        """The next bytes."""
        start, stop = self.pos, self.pos + count
        if not start <= stop <= self.end:
            raise UnsafeFileError(f"it claims {count:,} more bytes at byte {start:,} of {self.end:,}")
        self.pos = stop
        return bytes(self.data[start:stop])

    def number(self, width: int, signed: bool = False) -> int:
        return int.from_bytes(self.take(width), "little", signed=signed)

    def line(self) -> bytes:
        """The next line, without its end."""
        stop = self.data.find(b"\n", self.pos)
        if stop < 0:
            raise UnsafeFileError("it ends in the middle of a line")
        return self.take(stop + 1 - self.pos)[:-1]

    def push(self, value: object, size: int = 0) -> None:
        """Put a new object of about `size` bytes on the stack."""
        self.spend(32 + size)
        self.stack.append(value)

    def pop_mark(self) -> list:
        """What was put on the stack since the last mark."""
        items, self.stack = self.stack, self.marks.pop()
        return items

    def remember(self, key: int) -> None:
        self.spend(32)
        self.memo[key] = self.stack[-1]

    def recall(self, key: int) -> None:
        self.push(self.memo[key])

    def find(self, module: object, name: object) -> Global:
        """What stands for a global name; the one place where a file's wishes are granted or refused."""
        if (module, name) in self.known:
            return self.known[module, name]
        if isinstance(module, str) and any(
            module == root or module.startswith(root + ".") for root in BAGGAGE
        ):
            self.spend(400)
            return Global(f"{module}.{name}", lambda budget, *args: Placeholder(f"{module}.{name}", args))
        raise UnsafeFileError(
            f"it asks for {module}.{name}, which is not among the plain data we rebuild. Loading it with pickle "
            "would let the file run code here"
        )

    def call(self, function: object, args: object) -> None:
        """Build what a call of an allowed name builds."""
        if not isinstance(function, Global) or function.make is None or type(args) is not tuple:
            raise UnsafeFileError(f"it calls {describe(function)}, which builds nothing we know")
        made = function.make(self.budget, *args)
        if function.make is reconstruct:
            self.unbuilt[id(made)] = made
        self.push(made, 64)

    def build(self, target: object, state: object) -> None:
        """Give an object made by `call` its contents."""
        if id(target) in self.unbuilt:
            fill_array(self.budget, target, state, self.unbuilt)
            del self.unbuilt[id(target)]
        elif isinstance(target, np.dtype):
            set_order(target, state)
        elif type(target) is Placeholder:
            target.state = state
        elif type(target) is not OrderedDict:  # what a state_dict says of its modules' versions is left out
            raise UnsafeFileError(f"it changes {describe(target)} from inside, which plain data never needs")

    def extend(self, target: object, items: list) -> None:
        self.spend(16 * len(items))
        if type(target) is list:
            target.extend(items)
        elif type(target) is set:
            target.update(map(check_key, items))
        elif type(target) is not Placeholder:
            raise UnsafeFileError(f"it appends to {describe(target)}")

    def assign(self, target: object, items: list) -> None:
        if len(items) % 2:
            raise UnsafeFileError("a dict has a key without a value")
        self.spend(64 * len(items))
        if isinstance(target, dict):
            for key, value in zip(items[::2], items[1::2], strict=True):
                target[check_key(key)] = value
        elif type(target) is not Placeholder:
            raise UnsafeFileError(f"it sets items of {describe(target)}")


def _check_depth(result: object) -> None:
    """Refuse containers nested so deep that working with them would exhaust Python's stack."""
    level, seen = [result], set()
    for _ in range(DEEPEST):
        inner = []
        for value in level:
            kind = type(value)
            if (
                kind in (list, tuple, set, frozenset, dict, OrderedDict, Placeholder)
                and id(value) not in seen
            ):
                seen.add(id(value))
                if kind is Placeholder:
                    inner += [value.args, value.state]
                else:
                    inner.extend(value.values() if isinstance(value, dict) else value)
            elif kind is np.ndarray and value.dtype == object and id(value) not in seen:
                seen.add(id(value))
                inner.extend(value.ravel())
        if not inner:
            return
        level = inner
    raise UnsafeFileError(f"it nests containers more than {DEEPEST} deep")


# The operations of protocols 0 to 5 --------------------------------------------------------------------------------


def _counted(width: int, encoding: str | None) -> Callable[[Unpickler], None]:
    """Text or bytes after a count of their bytes."""

    errors = "surrogatepass" if encoding == "utf-8" else "strict"
    most = 4 if encoding else 1  # bytes of memory for one of the file

    def operation(u: Unpickler) -> None:  # written out, as large files are mostly this
        start = u.pos + width
        size = int.from_bytes(u.data[u.pos : start], "little")
        if start + size > u.end:
            raise UnsafeFileError(f"it claims {size:,} more bytes at byte {start:,} of {u.end:,}")
        u.pos = start + size
        raw = u.data[start : u.pos]
        u.spend(64 + most * size)
        u.stack.append(bytes(raw) if encoding is None else str(raw, encoding, errors))

    return operation


def _bytearray(u: Unpickler) -> None:
    raw = u.take(u.number(8))
    u.push(bytearray(raw), len(raw))


def _constant(value: object) -> Callable[[Unpickler], None]:
    return lambda u: u.push(value)


def _integer(width: int, signed: bool = False) -> Callable[[Unpickler], None]:
    return lambda u: u.push(u.number(width, signed))


def _long(width: int) -> Callable[[Unpickler], None]:
    def operation(u: Unpickler) -> None:
        raw = u.take(u.number(width))
        u.push(int.from_bytes(raw, "little", signed=True), len(raw))

    return operation


def _last(count: int) -> Callable[[Unpickler], None]:
    def operation(u: Unpickler) -> None:
        if len(u.stack) < count:
            raise UnsafeFileError("a tuple has too few items")
        u.stack[-count:] = [tuple(u.stack[-count:])]
        u.spend(40 + 8 * count)

    return operation


def _marked(make: Callable[[list], object]) -> Callable[[Unpickler], None]:
    def operation(u: Unpickler) -> None:
        items = u.pop_mark()
        u.push(make(items), 16 * len(items))

    return operation


def _text_integer(u: Unpickler) -> None:
    line = u.line()
    u.push({b"00": False, b"01": True}[line] if line in (b"00", b"01") else int(line.rstrip(b"L")), len(line))


def _text_string(u: Unpickler) -> None:
    line = u.line()
    if line[:1] not in (b"'", b'"') or line[:1] != line[-1:]:
        raise UnsafeFileError("a text has no quotes")
    u.push(line[1:-1].decode("unicode_escape"), 4 * len(line))


def _text_unicode(u: Unpickler) -> None:
    line = u.line()
    u.push(line.decode("raw-unicode-escape"), 4 * len(line))


def _mark(u: Unpickler) -> None:
    u.spend(64)
    u.marks.append(u.stack)
    u.stack = []


def _pop(u: Unpickler) -> None:
    u.stack.pop() if u.stack else u.pop_mark()


def _dict(u: Unpickler) -> None:
    items = u.pop_mark()
    u.push({}, 64)
    u.assign(u.stack[-1], items)


def _frozenset(u: Unpickler) -> None:
    items = u.pop_mark()
    u.push(frozenset(map(check_key, items)), 64 * len(items))


def _append(u: Unpickler) -> None:
    value = u.stack.pop()
    u.extend(u.stack[-1], [value])


def _appends(u: Unpickler) -> None:
    items = u.pop_mark()
    u.extend(u.stack[-1], items)


def _setitem(u: Unpickler) -> None:
    value, key = u.stack.pop(), u.stack.pop()
    u.assign(u.stack[-1], [key, value])


def _setitems(u: Unpickler) -> None:
    items = u.pop_mark()
    u.assign(u.stack[-1], items)


def _global(u: Unpickler) -> None:
    module, name = u.line().decode("utf-8"), u.line().decode("utf-8")
    u.push(u.find(module, name))


def _stack_global(u: Unpickler) -> None:
    name, module = u.stack.pop(), u.stack.pop()
    if type(name) is not str or type(module) is not str:
        raise UnsafeFileError("it names a global by something other than text")
    u.push(u.find(module, name))


def _reduce(u: Unpickler) -> None:
    args, function = u.stack.pop(), u.stack.pop()
    u.call(function, args)


def _newobj(u: Unpickler) -> None:
    args, kind = u.stack.pop(), u.stack.pop()
    if type(kind) is not Global or not kind.name.startswith(BAGGAGE):
        raise UnsafeFileError(f"it makes an object of {describe(kind)}")
    u.call(kind, args)


def _newobj_ex(u: Unpickler) -> None:
    u.stack.pop()  # the keywords; only placeholders get here, which need none
    _newobj(u)


def _inst(u: Unpickler) -> None:
    module, name = u.line().decode("utf-8"), u.line().decode("utf-8")
    args = tuple(u.pop_mark())
    u.call(u.find(module, name), args)


def _obj(u: Unpickler) -> None:
    kind, *args = u.pop_mark()
    u.call(kind, tuple(args))


def _build(u: Unpickler) -> None:
    state = u.stack.pop()
    u.build(u.stack[-1], state)


def _persistent(u: Unpickler, key: object) -> None:
    if u.persistent is None:
        raise UnsafeFileError("it refers to an object outside the file")
    u.push(u.persistent(key), 64)


OPERATIONS: dict[int, Callable[[Unpickler], None]] = {
    code[0]: operation
    for code, operation in {
        pickle.PROTO: lambda u: u.take(1),
        pickle.FRAME: lambda u: u.take(8),
        pickle.NONE: _constant(None),
        pickle.NEWTRUE: _constant(True),
        pickle.NEWFALSE: _constant(False),
        pickle.INT: _text_integer,
        pickle.LONG: _text_integer,
        pickle.BININT: _integer(4, signed=True),
        pickle.BININT1: _integer(1),
        pickle.BININT2: _integer(2),
        pickle.LONG1: _long(1),
        pickle.LONG4: _long(4),
        pickle.FLOAT: lambda u: u.push(float(u.line())),
        pickle.BINFLOAT: lambda u: u.push(struct.unpack(">d", u.take(8))[0]),
        pickle.STRING: _text_string,
        pickle.BINSTRING: _counted(4, "latin1"),
        pickle.SHORT_BINSTRING: _counted(1, "latin1"),
        pickle.UNICODE: _text_unicode,
        pickle.BINUNICODE: _counted(4, "utf-8"),
        pickle.SHORT_BINUNICODE: _counted(1, "utf-8"),
        pickle.BINUNICODE8: _counted(8, "utf-8"),
        pickle.BINBYTES: _counted(4, None),
        pickle.SHORT_BINBYTES: _counted(1, None),
        pickle.BINBYTES8: _counted(8, None),
        pickle.BYTEARRAY8: _bytearray,
        pickle.EMPTY_LIST: lambda u: u.push([], 64),
        pickle.EMPTY_DICT: lambda u: u.push({}, 64),
        pickle.EMPTY_TUPLE: lambda u: u.push(()),
        pickle.EMPTY_SET: lambda u: u.push(set(), 216),
        pickle.TUPLE: _marked(tuple),
        pickle.LIST: _marked(list),
        pickle.FROZENSET: _frozenset,
        pickle.DICT: _dict,
        pickle.TUPLE1: _last(1),
        pickle.TUPLE2: _last(2),
        pickle.TUPLE3: _last(3),
        pickle.APPEND: _append,
        pickle.APPENDS: _appends,
        pickle.ADDITEMS: _appends,
        pickle.SETITEM: _setitem,
        pickle.SETITEMS: _setitems,
        pickle.MARK: _mark,
        pickle.POP: _pop,
        pickle.POP_MARK: lambda u: u.pop_mark(),
        pickle.DUP: lambda u: u.push(u.stack[-1]),
        pickle.GET: lambda u: u.recall(int(u.line())),
        pickle.BINGET: lambda u: u.recall(u.number(1)),
        pickle.LONG_BINGET: lambda u: u.recall(u.number(4)),
        pickle.PUT: lambda u: u.remember(int(u.line())),
        pickle.BINPUT: lambda u: u.remember(u.number(1)),
        pickle.LONG_BINPUT: lambda u: u.remember(u.number(4)),
        pickle.MEMOIZE: lambda u: u.remember(len(u.memo)),
        pickle.GLOBAL: _global,
        pickle.STACK_GLOBAL: _stack_global,
        pickle.REDUCE: _reduce,
        pickle.INST: _inst,
        pickle.OBJ: _obj,
        pickle.NEWOBJ: _newobj,
        pickle.NEWOBJ_EX: _newobj_ex,
        pickle.BUILD: _build,
        pickle.PERSID: lambda u: _persistent(u, u.line().decode("ascii")),
        pickle.BINPERSID: lambda u: _persistent(u, u.stack.pop()),
    }.items()
}  # the rest, EXT1 to EXT4 and buffers outside the file, is refused
