"""What programs do that use mailtm-unofficial, against a server of ours."""

import os
import smtplib
import threading
from email.message import EmailMessage

from mailtm import MailTM
from mailtm.errors import AuthenticationError, NotFoundError, ValidationError
from mailtm.events import EventStream

SERVER = os.environ["MAYFLY_HTTP"]
SMTP_HOST, SMTP_PORT = os.environ["MAYFLY_SMTP"].rsplit(":", 1)
MESSAGES = 65


def send(to, *mails):
    with smtplib.SMTP(SMTP_HOST, int(SMTP_PORT), timeout=60) as smtp:
        for mail in mails:
            smtp.send_message(mail, "sender@client.example", [to])


def mail(to, subject, text):
    message = EmailMessage()
    message["From"] = "Somebody <somebody@a.test>"
    message["To"] = to
    message["Cc"] = "Other <other@a.test>"
    message["Subject"] = subject
    message.set_content(text)
    return message


def refused(error, status, act, *arguments):
    try:
        act(*arguments)
    except error as why:
        assert why.status_code == status, why
        return why.message
    raise AssertionError(f"{act} should have failed with {status}")


def pages(client, address):
    """Every message is on one page, newest first."""
    subjects = [f"number {number}" for number in range(MESSAGES)]
    send(address, *(mail(address, subject, "text") for subject in subjects))
    first, third = client.get_messages(), client.get_messages(3)
    assert (first.total, len(first.members), first.page) == (MESSAGES, 30, 2), first
    assert (len(third.members), third.has_next, third.has_previous) == (5, False, True), third
    assert client.get_messages(4).members == []
    listed = list(client.iter_messages())
    assert [message.subject for message in listed] == subjects[::-1]
    assert len({message.id for message in listed}) == MESSAGES
    assert {str(message.from_) for message in listed} == {"Somebody <somebody@a.test>"}
    assert all(message.account_id == f"/accounts/{client.account.id}" for message in listed)
    refused(ValidationError, 400, client.get_messages, 0)


def one_message(client, address):
    """A message with everything, read, marked, handed out, deleted."""
    rich = mail(address, "with everything", "Plain text.\n")
    rich.add_alternative("<p>Some <b>HTML</b></p><script>alert(1)</script>", subtype="html")
    rich.add_attachment(b"\0\1\2" * 1000, maintype="application", subtype="pdf", filename="a.pdf")
    rich.add_attachment(b"<svg/>", maintype="image", subtype="svg+xml", filename="b.svg")
    send(address, rich)
    found = client.wait_for_message(from_="somebody@a.test", subject="EVERYTHING", contains="plain", timeout=0)
    assert found.has_attachments and found.seen is False and found.is_deleted is False
    message = client.get_message(found.id)
    assert message.text.strip() == "Plain text.", message.text
    (html,) = message.html
    assert "<b>HTML</b>" in html and "script" not in html, html
    assert message.cc == [{"address": "other@a.test", "name": "Other"}], message.cc
    assert message.retention_date > message.created_at
    names = [(it.id, it.filename, it.content_type, it.transfer_encoding, it.size) for it in message.attachments]
    assert names == [
        ("ATTACH000001", "a.pdf", "application/pdf", "base64", 3),
        ("ATTACH000002", "b.svg", "image/svg+xml", "base64", 1),
    ], names
    assert client.download_attachment(message.attachments[0]) == b"\0\1\2" * 1000
    assert client.download_attachment(message.attachments[1]) == b"<svg/>"
    raw = client.download_message(message.id)
    assert len(raw) == message.size and b"Subject: with everything\r\n" in raw
    source = client.get_source(message.id)
    assert source["data"].encode() == raw and source["@type"] == "Source", source

    assert client.mark_seen(message.id) is True
    assert client.get_message(message.id).seen is True
    assert client.mark_seen(message.id, False) is False
    assert client.get_message(message.id).seen is False
    client.delete_message(message.id)
    for act in (client.get_message, client.mark_seen, client.get_source, client.download_message, client.delete_message):
        assert refused(NotFoundError, 404, act, message.id) == "Not Found"


def stream(client, address):
    """An account is pushed with what it uses, after the message that it has got."""
    events = EventStream(client.token, f"/accounts/{client.account.id}", hub_url=f"{SERVER}/.well-known/mercure", timeout=60)
    used = client.me().used
    came, opened = [], threading.Event()
    session = events._session
    get = session.get

    def noticed(*arguments, **options):
        answer = get(*arguments, **options)
        opened.set()
        return answer

    session.get = noticed

    def read():
        for event in events.iter_events():
            came.append(event)
            if event.account() and event.json()["@type"] == "Account":
                return

    reader = threading.Thread(target=read)
    reader.start()
    assert opened.wait(60)
    send(address, mail(address, "pushed", "text"))
    reader.join(60)
    assert not reader.is_alive(), came
    message, account = came
    assert message.json()["subject"] == "pushed" and message.event_type is None, message
    assert account.account().used > used and account.account().address == address, account
    assert account.event_id == f"{message.event_id}.account", came


def main():
    with MailTM(base_url=SERVER) as client:
        account = client.create_account()
        address = account.address
        assert client.account.address == address and account.quota > 0 and account.used == 0
        (domain,) = client.iter_domains()
        assert client.get_domain(domain.id) == domain and domain.is_active and not domain.is_private
        refused(NotFoundError, 404, client.get_domain, "0" * 24)
        why = refused(ValidationError, 422, client.create_account, address, "secret")
        assert why == "address: This value is already used.", why
        why = refused(AuthenticationError, 401, client.get_token, address, "wrong")
        assert why == "Invalid credentials.", why
        assert client.get_account(client.account.id) == client.me()
        refused(NotFoundError, 404, client.get_account, "0" * 24)
        one_message(client, address)
        stream(client, address)
        client.delete_message(next(client.iter_messages()).id)
        pages(client, address)
        token = client.token
        client.delete_account()
        client.token = token
        assert refused(AuthenticationError, 401, client.me) == "Invalid JWT Token"


main()
print("well")
