"""An agent's client: connects to the URL of an endpoint, says which tools there are, then calls one for each line.

A line in is {"tool": ..., "arguments": {...}}. A line out is {"tools": [...]}, {"progress": n} while a tool waits, or its result.
"""

import json
import sys

import anyio
from mcp import Client


def say(what):
    print(json.dumps(what), flush=True)


async def progress(done, total, message):
    say({"progress": done, "message": message})


async def main(url, mode):
    async with Client(url, mode=mode) as client:
        tools = await client.list_tools()
        say({"tools": [tool.model_dump(mode="json", by_alias=True) for tool in tools.tools]})
        while line := await anyio.to_thread.run_sync(sys.stdin.readline):
            call = json.loads(line)
            result = await client.call_tool(
                call["tool"], call["arguments"], read_timeout_seconds=60, progress_callback=progress
            )
            say(result.model_dump(mode="json", by_alias=True))


anyio.run(main, *sys.argv[1:3])
