"""Watches mailboxes of Inbucket as its web page does, over both versions of the monitor.

Arguments: the ports of HTTP and SMTP. Every check that fails ends it with an error.
"""

import asyncio
import json
import smtplib
import sys
import urllib.request

import websockets

http, smtp = sys.argv[1:3]
TIME = 60


def send(to, subject):
    with smtplib.SMTP("127.0.0.1", int(smtp), timeout=TIME) as session:
        text = f"From: Ann B <ann@a.test>\r\nTo: <{to}>\r\nSubject: {subject}\r\n\r\nhello\r\n"
        session.sendmail("ann@a.test", [to], text)


def call(method, path):
    request = urllib.request.Request(f"http://127.0.0.1:{http}{path}", method=method)
    with urllib.request.urlopen(request, timeout=TIME) as answer:
        return json.load(answer)


async def read(socket):
    return json.loads(await asyncio.wait_for(socket.recv(), TIME))


def connect(path):
    return websockets.connect(f"ws://127.0.0.1:{http}{path}", open_timeout=TIME)


async def main():
    for number in range(33):
        send(f"replayed{number}@open.test", f"before {number}")
    async with (
        connect("/api/v1/monitor/messages") as everything,
        connect("/api/v2/monitor/messages") as events,
        connect("/api/v1/monitor/messages/watched") as one,
        connect("/api/v2/monitor/messages/watched%40open.test") as events_of_one,
    ):
        # The newest thirty come first, the oldest of them first.
        for socket, field in ((everything, None), (events, "header")):
            replayed = [await read(socket) for _ in range(30)]
            headers = [it[field] if field else it for it in replayed]
            assert [it["subject"] for it in headers] == [f"before {n}" for n in range(3, 33)], headers
        # What is at a domain that is not public is told to nobody, and what is in other mailboxes not to those who watch one.
        send("held@mayfly.test", "somebody's")
        send("other@open.test", "another")
        send("watched@open.test", "wanted")
        header = await read(everything)
        assert header["subject"] == "another", header
        assert list(header) == [
            "mailbox", "id", "from", "to", "subject", "date", "posix-millis", "size", "seen",
        ], header
        assert header["mailbox"] == "other" and header["id"] == "1", header
        assert header["from"] == "Ann B <ann@a.test>" and header["to"] == ["<other@open.test>"], header
        assert isinstance(header["posix-millis"], int) and isinstance(header["size"], int), header
        assert header["seen"] is False, header
        wanted = await read(everything)
        assert wanted["subject"] == "wanted", wanted
        assert await read(one) == wanted
        event = await read(events)
        assert event == {"variant": "message-stored", "identifier": None, "header": header}, event
        assert (await read(events))["header"] == wanted
        assert (await read(events_of_one))["header"] == wanted

        assert call("DELETE", "/api/v1/mailbox/other/1") == "OK"
        assert call("DELETE", "/api/v1/mailbox/watched") == "OK"
        deleted = {"variant": "message-deleted", "identifier": {"mailbox": "other", "id": "1"}, "header": None}
        assert await read(events) == deleted
        deleted["identifier"]["mailbox"] = "watched"
        assert await read(events) == deleted
        assert await read(events_of_one) == deleted
        # A message that went is not replayed, and one that comes while somebody connects is told once.
        async with connect("/api/v1/monitor/messages") as later:
            replayed = [(await read(later))["subject"] for _ in range(30)]
            assert replayed == [f"before {n}" for n in range(3, 33)], replayed
            send("other@open.test", "again")
            assert (await read(later))["subject"] == "again"
        assert (await read(everything))["subject"] == "again"

        # Whoever lives answers when asked; websockets does so by itself.
        for _ in range(2):
            await asyncio.wait_for(await everything.ping(), TIME)
        # Nobody has that much to say.
        await one.send("x" * 512)
        await one.send("x" * 513)
        try:
            while True:
                await read(one)
        except websockets.ConnectionClosed:
            pass
    # There are five at most.
    sockets = [await connect("/api/v1/monitor/messages") for _ in range(5)]
    try:
        await connect("/api/v1/monitor/messages")
        raise AssertionError("a sixth monitor")
    except websockets.InvalidStatus as refused:
        assert refused.response.status_code == 429, refused
    for socket in sockets:
        await socket.close()
    # Nobody watches what is not everybody's, and no page of another site watches anything.
    for path, headers, status in (
        ("/api/v1/monitor/messages/u@mayfly.test", {}, 404),
        ("/api/v2/monitor/messages/admin", {}, 404),
        ("/api/v1/monitor/messages", {"Origin": "http://elsewhere.test"}, 403),
    ):
        try:
            await websockets.connect(f"ws://127.0.0.1:{http}{path}", additional_headers=headers)
            raise AssertionError(path)
        except websockets.InvalidStatus as refused:
            assert refused.response.status_code == status, (path, refused)


asyncio.run(main())
print("done")
