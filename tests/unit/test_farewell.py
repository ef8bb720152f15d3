"""What applications can ask about the end."""

import asyncio

from serval.asgi.farewell import Draining


def test_nobody_drains_before_it_is_announced() -> None:
    assert not Draining().is_set()


def test_whoever_waits_learns_of_it() -> None:
    async def main() -> bool:
        draining = Draining()
        waiter = asyncio.ensure_future(draining.wait())
        await asyncio.sleep(0)
        draining.announce()
        return await waiter and draining.is_set()

    assert asyncio.run(main())
