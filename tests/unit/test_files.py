"""Files on their way to a socket, without one."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from serval.errors import AppError
from serval.worker.connections import files
from serval.worker.connections.files import READ_BYTES, open_file

DATA = bytes(range(256)) * 1024


@pytest.fixture
def path(tmp_path: Path) -> str:
    file = tmp_path / "data"
    file.write_bytes(DATA)
    return str(file)


def descriptors() -> int:
    return len(os.listdir("/dev/fd"))


@pytest.fixture(params=[True, False], ids=["asked", "not asked"])
def can_ask(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the system tells what is in its cache."""
    if not request.param:
        monkeypatch.setattr(files, "_NO_WAIT", 0)


@pytest.mark.usefixtures("can_ask")
def test_a_file_is_read_in_pieces_to_its_end(path: str) -> None:
    async def main() -> None:
        file = await open_file(path)
        pieces = []
        offset = 0
        while data := await file.read(offset, len(DATA)):
            assert len(data) <= READ_BYTES
            pieces.append(data)
            offset += len(data)
        file.close()
        file.close()
        assert b"".join(pieces) == DATA

    before = descriptors()
    asyncio.run(main())
    assert descriptors() == before


@pytest.mark.usefixtures("can_ask")
def test_what_was_fetched_is_at_hand(path: str) -> None:
    async def main() -> None:
        file = await open_file(path)
        await file.fetch(0, len(DATA))
        assert file.is_at_hand(0, len(DATA))
        file.close()

    asyncio.run(main())


def test_a_file_object_is_sent_from_where_it_stands_and_left_where_that_ends(path: str) -> None:
    async def main() -> None:
        with Path(path).open("rb") as source:  # noqa: ASYNC230 - what blocks is not the point
            source.read(3)  # which reads ahead
            file = await open_file(source)
            assert file.position == 3
            file.leave_at(10)
            file.close()
            assert source.read(2) == DATA[10:12]

    asyncio.run(main())


def test_a_descriptor_is_sent_from_where_it_stands_and_left_where_that_ends(path: str) -> None:
    async def main() -> None:
        fd = os.open(path, os.O_RDONLY)
        os.lseek(fd, 5, os.SEEK_SET)
        file = await open_file(fd)
        assert file.position == 5
        file.leave_at(7)
        file.close()
        assert os.read(fd, 2) == DATA[7:9]
        os.close(fd)

    asyncio.run(main())


def a_folder(folder: Path) -> object:
    return str(folder)


def nothing(folder: Path) -> object:
    return str(folder / "missing")


def a_null(_: Path) -> object:
    return "a\0b"


def a_pipe(folder: Path) -> object:
    os.mkfifo(folder / "pipe")
    return str(folder / "pipe")


def a_closed_file(folder: Path) -> object:
    file = (folder / "closed").open("wb")
    file.close()
    return file


def a_bad_descriptor(_: Path) -> object:
    return 987_654


@pytest.mark.parametrize(
    "make", [a_folder, nothing, a_null, a_pipe, a_closed_file, a_bad_descriptor]
)
def test_what_cannot_be_sent_is_refused(make: Callable[[Path], object], tmp_path: Path) -> None:
    source = make(tmp_path)
    before = descriptors()

    with pytest.raises(AppError, match="cannot send"):
        asyncio.run(open_file(source))

    assert descriptors() == before


def test_a_file_whose_opening_is_cancelled_is_closed(path: str) -> None:
    async def main() -> None:
        opening = asyncio.ensure_future(open_file(path))
        await asyncio.sleep(0)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening

    before = descriptors()
    asyncio.run(main())
    assert descriptors() == before
