"""What schemathesis needs to know of this API beside its document: how to come by a token, and a mailbox with mail."""

import os
import re
import smtplib

import requests
import schemathesis

HTTP = os.environ["MAYFLY_HTTP"]
SMTP_HOST, SMTP_PORT = os.environ["MAYFLY_SMTP"].rsplit(":", 1)

PLAIN = b"""From: =?utf-8?q?J=C3=B6rg?= <joerg@a.test>\r
Subject: Your code is 482913\r
\r
Your verification code: 482913\r
"""

WHOLE = b"""From: joerg@a.test\r
To: you@mayfly.test\r
Subject: Verify your address\r
MIME-Version: 1.0\r
Content-Type: multipart/mixed; boundary=b\r
\r
--b\r
Content-Type: text/html; charset=utf-8\r
\r
<p>Hello <a href="https://harbour.test/verify?token=Zk39fQx81LmN02pQ">Verify my address</a>\r
<img src="https://t.test/p.gif"></p>\r
--b\r
Content-Type: application/pdf; name=invoice.pdf\r
Content-Disposition: attachment; filename=invoice.pdf\r
\r
%PDF\r
--b--\r
"""



def create(fields):
    answer = requests.post(f"{HTTP}/api/v1/mailboxes", json=fields, timeout=10)
    assert answer.status_code == 201, answer.text
    return answer.json()


def deliver(address):
    with smtplib.SMTP(SMTP_HOST, int(SMTP_PORT)) as client:
        for message in (PLAIN, WHOLE):
            client.sendmail("joerg@a.test", [address], message)


def state(token):
    return requests.get(f"{HTTP}/api/v1/mailbox", headers=bearer(token), timeout=10)


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def needs_a_token(operation):
    return any("token" in way for way in operation.definition.raw.get("security", []))


@schemathesis.auth(refresh_interval=None)
class Mailbox:
    """Each case opens a mailbox of its own with two messages: what one case erases no other misses. A sequence of calls
    is about one mailbox, though, so that what it deletes must be gone; it gets new mail when it has none left."""

    def __init__(self):
        self.shared = None

    def get(self, case, context):
        if not needs_a_token(case.operation):
            return None
        if case.meta is not None and case.meta.phase.name == "stateful":
            return self.of_sequence()
        # A stream ends with its mailbox.
        fields = {"ttl": "2s"} if case.operation.path == "/api/v1/events" else {}
        mailbox = create(fields)
        deliver(mailbox["address"])
        return mailbox["token"]

    def of_sequence(self):
        found = state(self.shared) if self.shared else None
        if found is None or found.status_code != 200:
            self.shared = create({})["token"]
            found = state(self.shared)
        if found.json()["messages"] == 0:
            deliver(found.json()["address"])
        return self.shared

    def set(self, case, data, context):
        if data is None:
            return
        case.headers["Authorization"] = f"Bearer {data}"


@schemathesis.hook
def before_call(context, case, kwargs):
    """A ticket that is made up opens nothing: in its place goes one that does."""
    body = case.body
    is_recovery = case.operation.path == "/api/v1/mailbox/recover" and isinstance(body, dict)
    if is_recovery and list(body) == ["recovery"] and re.fullmatch("mfr_[a-z2-7]+", str(body["recovery"])):
        case.body = {"recovery": create({})["recovery"]}


# Instead of schemathesis's own check of authentication, which wants 401 or 403 for a wrong token. Here a wrong token is
# answered like one that is no longer valid, byte for byte, and both like an address that nobody holds: 404.
@schemathesis.check
def without_the_token_nothing_opens(context, response, case):
    is_described = case.method.upper() == case.operation.method.upper()
    if not (needs_a_token(case.operation) and is_described) or not 200 <= response.status_code < 300:
        return
    request = response.request
    for headers, status, code in (
        ({}, 401, "no-token"),
        (bearer("mf_" + "a" * 32), 404, "no-such-mailbox"),
    ):
        for name in ("Content-Type", "Last-Event-ID"):
            if name in request.headers:
                headers[name] = request.headers[name]
        answer = requests.request(request.method, request.url, data=request.body, headers=headers, timeout=10)
        found = (answer.status_code, answer.json()["code"])
        assert found == (status, code), f"{found} instead of {(status, code)}"
