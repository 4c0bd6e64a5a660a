"""Holds every example of an OpenAPI document against the schema beside it, and every schema against JSON Schema."""

import json
import sys

import jsonschema_rs

DOCUMENT = json.load(open(sys.argv[1], encoding="utf-8"))
seen = 0


def check(schema, example, place):
    global seen
    seen += 1
    whole = {"$schema": "https://json-schema.org/draft/2020-12/schema", "components": DOCUMENT["components"], **schema}
    jsonschema_rs.meta.validate(whole)
    try:
        jsonschema_rs.validate(whole, example)
    except jsonschema_rs.ValidationError as why:
        sys.exit(f"{place}: {why}")


def walk(node, place):
    if isinstance(node, list):
        for nth, item in enumerate(node):
            walk(item, f"{place}/{nth}")
    if not isinstance(node, dict):
        return
    schema = node.get("schema")
    if "example" in node:
        # Beside a schema (parameters, fields, media types), or in one.
        check(node if schema is None else schema, node["example"], place)
    if isinstance(node.get("examples"), list):
        for example in node["examples"]:
            check(node, example, place)
    if isinstance(node.get("examples"), dict):
        for name, example in node["examples"].items():
            check(schema, example["value"], f"{place}/{name}")
    for key, value in node.items():
        if key not in ("example", "examples"):
            walk(value, f"{place}/{key}")


walk(DOCUMENT, "#")
print(f"{seen} examples are valid")
