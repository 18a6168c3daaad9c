"""Who reads what: kept up to date with every edit, so that no rewrite has to count.

A *reader* is a node, which reads its inputs, or a graph, which reads its results. Only live readers count: the model
itself, the nodes that lead to one of its results, and the bodies of live nodes. A node without a reader so far, or any
more, holds on to nothing; it comes to life with its first reader and dies with its last.
"""

from __future__ import annotations

from collections.abc import Iterable


class Reader:
    """A node or a graph. A subclass reports each change of what it reads to :meth:`_reads_differently`."""

    __slots__ = ("live",)

    live: bool
    """Whether it leads to a result of the model."""

    def operands(self) -> Iterable[Readable | None]:
        """What it reads, once for each time that it does, without what its bodies read."""
        raise NotImplementedError

    def replace(self, old: Readable, new: Readable) -> None:
        """Reads ``new`` wherever it read ``old``; its bodies do not."""
        raise NotImplementedError

    def inner(self) -> Iterable[Reader]:
        """Its bodies: they are live while it is."""
        return ()

    def wanted(self) -> bool:
        """Whether anything that it makes has a live reader."""
        raise NotImplementedError

    def _reads_differently(self, before: Iterable[Readable | None]) -> None:
        """``operands`` used to be ``before``."""
        if self.live:
            for maker in _count(self):
                _start(maker)
            for maker in _discount(self, before):
                _stop(maker)

    def _makes_differently(self) -> None:
        """Other values name it as their maker than did before."""
        if self.wanted() and not self.live:
            _start(self)
        elif self.live and not self.wanted():
            _stop(self)


class Readable:
    """A value: it has a maker, and keeps its live readers, each with how often it reads the value."""

    __slots__ = ("_readers",)

    _readers: dict[Reader, int] | None

    def maker(self) -> Reader | None:
        """The node that makes it; None for inputs and constants."""
        raise NotImplementedError

    @property
    def is_read(self) -> bool:
        """Whether it has a live reader."""
        return bool(self._readers)

    def uses(self) -> list[Reader]:
        """Its live readers, each as often as it reads the value, in the order in which they came to life."""
        return [reader for reader, count in (self._readers or {}).items() for _ in range(count)]

    def replace_uses(self, new: Readable) -> None:
        """All live readers of this value read ``new`` from now on."""
        for reader in list(self._readers or ()):
            reader.replace(self, new)


def _start(reader: Reader) -> None:
    """``reader`` is live from now on, and all that it reads."""
    stack = [reader]
    while stack:
        found = stack.pop()
        if not found.live:
            found.live = True
            stack += found.inner()
            stack += _count(found)


def _count(reader: Reader) -> list[Reader]:
    """Adds one use of each operand; returns the makers that were not live yet."""
    makers = []
    for value in reader.operands():
        if value is None:
            continue
        if value._readers is None:
            value._readers = {}
        value._readers[reader] = value._readers.get(reader, 0) + 1
        maker = value.maker()
        if maker is not None and not maker.live:
            makers.append(maker)
    return makers


def _stop(reader: Reader) -> None:
    """``reader`` is not live any more, nor is what only it read."""
    stack = [reader]
    while stack:
        found = stack.pop()
        if found.live:
            found.live = False
            stack += found.inner()
            stack += _discount(found, found.operands())


def _discount(reader: Reader, operands: Iterable[Readable | None]) -> list[Reader]:
    """Takes back one use of each operand; returns the makers that are no longer needed."""
    makers = []
    for value in operands:
        if value is None or value._readers is None:
            continue
        count = value._readers[reader]
        if count > 1:
            value._readers[reader] = count - 1
            continue
        del value._readers[reader]
        maker = value.maker()
        if maker is not None and maker.live and not maker.wanted():
            makers.append(maker)
    return makers
