"""Heads and trailer sections, line by line as they arrive: limits and grammar.

Linear in the input whatever its cuts, and the verdict is the same at every cut.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from serval.protocols.framing import FORBIDDEN_IN_REQUEST_TRAILERS, FRAMING_NAMES
from serval.protocols.grammar import Field, RequestLine, check_first_byte, field_line, request_line
from serval.protocols.lines import LineFinder
from serval.protocols.refusals import refusal


@dataclass(frozen=True, slots=True)
class HeadLimits:
    """What the head and the trailers of one request may cost, together."""

    request_line_bytes: int = 8192
    field_bytes: int = 16384
    block_bytes: int = 65536
    count: int = 100


class Budget:
    """What is left of the limits for the fields of one request.

    Attributes:
        block_bytes: Bytes that field lines may still take, line ends included.
        count: Field lines that may still come.
    """

    __slots__ = ("block_bytes", "count", "field_bytes", "request_line_bytes")

    def __init__(self, limits: HeadLimits) -> None:
        self.request_line_bytes = limits.request_line_bytes
        self.field_bytes = limits.field_bytes
        self.block_bytes = limits.block_bytes
        self.count = limits.count


class _Section(ABC):
    """Lines up to an empty one.  Positions count from the start of the section."""

    __slots__ = ("_finder", "budget", "end")

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.end = 0  # of the lines taken so far
        self._finder = LineFinder()

    def advance(self, data: bytes | bytearray, start: int, origin: int) -> bool:
        """Check what has arrived since the last call; True once the empty line is there.

        Args:
            data: The input; the section begins at `start`.
            origin: Where it begins in the connection's input, for the offset of errors.

        Raises:
            PeerError: A line breaks the grammar or a limit.
        """
        while True:
            offset = origin + self.end
            allowed, reason = self._allowance()
            line = self._finder.next_line(
                data, start + self.end, offset, allowed=allowed, reason=reason
            )
            if line is None:
                return False
            self.end += len(line) + 2
            if not line:
                self._take_empty_line(offset)
                return True
            self._take_line(line, offset)

    def _allowance(self) -> tuple[int, str]:
        """How long the current line may be, and the reason to refuse a longer one."""
        budget = self.budget
        if budget.block_bytes < budget.field_bytes:
            return budget.block_bytes, "fields-too-long"
        return budget.field_bytes, "field-too-long"

    @abstractmethod
    def _take_line(self, line: bytes, offset: int) -> None:
        """Judge a line that is not empty."""

    @abstractmethod
    def _take_empty_line(self, offset: int) -> None:
        """Judge the end of the section."""

    def _spend(self, line: bytes, offset: int) -> None:
        """Count a field line against the budget."""
        if self.budget.count == 0:
            raise refusal("too-many-fields", line, offset)
        self.budget.count -= 1
        self.budget.block_bytes = max(0, self.budget.block_bytes - len(line) - 2)


class HeadSection(_Section):
    """A request head: the request line, then fields.

    Attributes:
        request: The parts of the request line; meant for a head that is complete.
        framing_fields: The fields that `framing_of` has to see.
        end: Where the bytes after the head begin, once it is complete.
    """

    __slots__ = ("_count", "framing_fields", "request")

    def __init__(self, limits: HeadLimits, first_byte: int, offset: int) -> None:
        super().__init__(Budget(limits))
        check_first_byte(first_byte, offset)
        self.request = RequestLine(b"", b"", b"")
        self.framing_fields: list[Field] = []
        self._count = limits.count

    def _allowance(self) -> tuple[int, str]:
        if not self.request.method:
            return self.budget.request_line_bytes, "request-line-too-long"
        return super()._allowance()

    def _take_line(self, line: bytes, offset: int) -> None:
        if not self.request.method:
            self.request = request_line(line, offset)
            return
        self._spend(line, offset)
        field = field_line(line, offset, is_first=self.budget.count == self._count - 1)
        if field.name in FRAMING_NAMES:
            self.framing_fields.append(field)

    def _take_empty_line(self, offset: int) -> None:
        if not self.request.method:
            raise refusal("empty-lines", b"\r\n", offset)


class TrailerSection(_Section):
    """The fields after the last chunk, on what the head left of the budget."""

    __slots__ = ("_is_first",)

    def __init__(self, budget: Budget) -> None:
        super().__init__(budget)
        self._is_first = True

    def _take_line(self, line: bytes, offset: int) -> None:
        self._spend(line, offset)
        field = field_line(line, offset, is_first=self._is_first)
        self._is_first = False
        if field.name in FORBIDDEN_IN_REQUEST_TRAILERS:
            raise refusal("forbidden-trailer", line, offset)

    def _take_empty_line(self, offset: int) -> None:
        """An empty line ends the section; there is nothing to check."""
