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
            PeerError: The line is too long, ends with LF alone, or holds a CR before its end.
        """
        end = data.find(b"\n", start + self._searched)
        if end >= 0:
            line = bytes(data[start:end])
            self._searched = 0
            stray, length = line.find(b"\r", 0, -1), len(line) - line.endswith(b"\r")
        elif (arrived := len(data) - start) > 0:
            line = b""
            # A CR that came last may be the first half of the line's end.
            length = arrived - (data[-1] == _CR)
            stray = data.find(b"\r", start + max(0, self._searched - 1), len(data) - 1) - start
            self._searched = arrived
        else:
            return None
        # In the order in which the bytes arrive, so that no cut changes the verdict.
        if 0 <= stray <= allowed:
            raise refusal("bare-cr", bytes(data[start : start + 64]), origin)
        if length > allowed:
            raise refusal(reason, bytes(data[start : start + 64]), origin)
        if end < 0:
            return None
        if not line.endswith(b"\r"):
            raise refusal("bare-lf", bytes(data[start : end + 1]), origin)
        return line[:-1]
