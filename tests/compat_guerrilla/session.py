"""Lives a life with guerrillamail-api. Arguments: the ports of HTTP and SMTP."""

import smtplib
import sys

from guerrillamail import GuerrillaMailAPIError, GuerrillaMailClient

http, smtp = sys.argv[1:3]
URL = f"http://127.0.0.1:{http}/ajax.php"
IMAGE = "https://images.test/logo.png?a=1&b=2"
MAIL = f"""From: Ann B <ann@a.test>
Subject: Tom & <Jerry>
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=cut

--cut
Content-Type: text/html

<p onclick="steal()">Your code is <b>482913</b>.</p><script>steal()</script><img src="{IMAGE.replace("&", "&amp;")}">
--cut
Content-Type: text/plain; name="a b.txt"
Content-Disposition: attachment; filename="a b.txt"

attached
--cut--
"""


def send(to, text):
    with smtplib.SMTP("127.0.0.1", int(smtp), timeout=60) as session:
        session.sendmail("ann@a.test", [to], text)


with GuerrillaMailClient(api_url=URL) as mine, GuerrillaMailClient(api_url=URL) as other:
    box = mine.create_email()
    assert box.domain == "mayfly.test" and mine.session_id and box.sid_token, box
    assert 3_590 <= box.seconds_remaining() <= 3_600, box
    assert mine.get_email_address()["email_addr"] == box.address, "a session keeps its address"
    assert mine.check_inbox().messages == (), "nothing is there that did not come"

    chosen = mine.set_username("chosen")
    assert chosen.address == "chosen@mayfly.test" and chosen.alias == "chosen", chosen
    # Somebody else who wants the same name gets another, and no mail.
    theirs = other.create_email()
    refused = other.set_email_user("chosen")
    assert refused["alias_error"] and refused["email_addr"] == theirs.address, refused
    # Whoever held a name gets it back.
    assert mine.set_username(box.local_part).address == box.address
    assert mine.set_username("chosen").address == chosen.address

    send(chosen.address, MAIL)
    send(chosen.address, "From: <bob@a.test>\r\nSubject: plain\r\n\r\n1 < 2 &\r\nso\r\n")
    inbox = mine.check_inbox()
    assert [it.mail_subject for it in inbox.messages] == ["plain", "Tom & <Jerry>"], inbox
    assert inbox.total_count == 2 and len(inbox.unread) == 2, inbox
    first = inbox.messages[1]
    assert first.mail_from == "ann@a.test" and first.has_attachments, first
    assert first.mail_excerpt == "Your code is 482913.", first
    assert mine.check_inbox().messages == (), "they were seen"
    assert len(mine.list_inbox().messages) == 2 and len(mine.list_inbox(offset=1).messages) == 1
    older = mine.get_older_list(inbox.messages[0].mail_id)
    assert [it["mail_subject"] for it in older["list"]] == ["Tom &amp; &lt;Jerry&gt;"], older
    assert other.check_inbox(seq=0).messages == ()

    read = mine.read_message(first.mail_id, show_images=True)
    assert "<b>482913</b>" in read.mail_body and "steal" not in read.mail_body, read
    assert IMAGE in read.mail_body, read
    assert read.mail_subject == "Tom & <Jerry>" and read.size > 0, read
    plain = mine.read_message(inbox.messages[0].mail_id)
    assert plain.mail_body == "1 &lt; 2 &amp;<br>\nso<br>\n", plain
    assert [it.mail_read for it in mine.list_inbox().messages] == [True, True]
    for client, mail_id in ((mine, 99), (other, first.mail_id)):
        try:
            client.read_message(mail_id)
            raise AssertionError(mail_id)
        except GuerrillaMailAPIError:
            pass

    extended = mine.extend_time()
    assert extended.affected and not extended.expired, extended
    assert mine.delete_messages([first.mail_id, 99]) == [first.mail_id]
    assert len(mine.list_inbox().messages) == 1
    assert mine.forget_address() is True
    try:
        mine.check_inbox()
        raise AssertionError("forgotten")
    except GuerrillaMailAPIError as why:
        assert "auth-session-not-initialized" in str(why), why
    assert mine.create_email().address not in (box.address, chosen.address)
print("done")
