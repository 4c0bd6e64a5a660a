"""A sink on aiosmtpd: it reads every message and drops it. Port: the argument."""

import asyncio
import sys

from aiosmtpd.smtp import SMTP


class Sink:
    """Says yes to every message."""

    async def handle_DATA(self, server, session, envelope):
        return "250 OK"


async def main():
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(Sink(), hostname="mx.test"), "127.0.0.1", int(sys.argv[1]), backlog=4096
    )
    await server.serve_forever()


asyncio.run(main())
