"""Lines that arrive in pieces: where one ends, and whether it ends as it must.

For heads, trailers and chunk sizes.  Linear in the input: every byte is searched once, and the
verdict on a line is the same wherever the input is cut.
"""

from typing import Final

from serval.protocols.refusals import refusal

_CR: Final = 0x0D


class LineFinder:
    """Finds the end of one line after the other."""

    __slots__ = ("_searched",)

    def __init__(self) -> None:
        self._searched = 0  # bytes of the current line known to hold no LF

    def next_line(
        self, data: bytes | bytearray, start: int, origin: int, *, allowed: int, reason: str
    ) -> bytes | None:
        """The line that begins at `start`, without its CR LF; None as long as it is unfinished.

        Args:
            data: The input; of an unfinished line, what was given before must be unchanged.
            origin: Where `start` is in the connection's input, for the offset of errors.
            allowed: How many bytes the line may have, CR LF not counted.
            reason: What to refuse a longer one for.

        Raises:
            PeerError: The line is too long, ends with LF alone, or holds a CR before its end; the
                same again if asked again.
        """
        end = data.find(b"\n", start + self._searched)
        arrived = (end if end >= 0 else len(data)) - start
        if arrived <= 0 and end < 0:
            return None
        # A CR that comes last is the first half of the line's end, or may become it.
        last = start + arrived - 1
        length = arrived - (data[last] == _CR) if arrived else 0
        stray = data.find(b"\r", start + max(0, self._searched - 1), max(last, start)) - start
        # In the order in which the bytes arrive, so that no cut changes the verdict.
        if 0 <= stray <= allowed:
            raise refusal("bare-cr", bytes(data[start : start + 64]), origin)
        if length > allowed:
            raise refusal(reason, bytes(data[start : start + 64]), origin)
        if end < 0:
            self._searched = arrived
            return None
        if length == arrived:
            raise refusal("bare-lf", bytes(data[start : start + 64]), origin)
        self._searched = 0
        return bytes(data[start:last])
