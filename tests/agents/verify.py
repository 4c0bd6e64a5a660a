"""Verifies calls with the library of the Standard Webhooks specification: one JSON object a line, one word a line out."""

import json
import sys

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

for line in sys.stdin:
    call = json.loads(line)
    try:
        Webhook(call["secret"]).verify(call["body"], call["headers"])
        print("good")
    except WebhookVerificationError:
        print("bad")
