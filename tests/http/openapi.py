"""What /openapi.json promises, as a judge of real answers.

An answer is good if its status is documented for the operation, its headers
are, and its body is what the schema says; members that no schema names are
faults here, although clients should ignore them."""
import copy
import json
import re

import jsonschema

METHODS = ("get", "put", "post", "patch", "delete")
# HTTP's own, and those that the example's web server adds. CORS is a setting,
# and off here.
TRANSPORT = {"date", "server", "connection", "content-type", "content-length",
             "accept-ranges", "content-security-policy",
             "x-content-type-options", "referrer-policy"}


def close(node):
    """Let each object have only the members that it names."""
    if isinstance(node, dict):
        if node.get("type") == "object" and "properties" in node:
            node.setdefault("additionalProperties", False)
        for value in node.values():
            close(value)
    elif isinstance(node, list):
        for value in node:
            close(value)


class Operation:
    def __init__(self, doc, method, path, item, spec):
        self.doc, self.method, self.path = doc, method.upper(), path
        self.id, self.responses = spec["operationId"], spec["responses"]
        self.security, self.body = spec["security"], spec.get("requestBody")
        self.parameters = [doc.follow(p) for p in
                           item["parameters"] + spec.get("parameters", [])]

    def __repr__(self):
        return f"{self.method} {self.path}"

    def example(self):
        """The first example of its body, as its first media type."""
        if self.body is None:
            return None, {}
        media, content = next(iter(self.body["content"].items()))
        value = next(iter(content["examples"].values()))["value"]
        return json.dumps(value), {"Content-Type": media}


class Document:
    def __init__(self, text):
        self.doc = json.loads(text)
        self.strict = copy.deepcopy(self.doc)
        close(self.strict["components"]["schemas"])
        self.resolver = jsonschema.RefResolver("", self.strict)
        self.operations = {
            spec["operationId"]: Operation(self, method, path, item, spec)
            for path, item in self.doc["paths"].items()
            for method, spec in item.items() if method in METHODS}

    def follow(self, node):
        while "$ref" in node:
            _, _, kind, name = node["$ref"].split("/")
            node = self.doc["components"][kind][name]
        return node

    def judge_value(self, value, schema, where):
        validator = jsonschema.Draft202012Validator(
            schema, resolver=self.resolver,
            format_checker=jsonschema.draft202012_format_checker)
        for fault in validator.iter_errors(value):
            raise AssertionError(
                f"{where}: {fault.json_path}: {fault.message}")

    def judge_header(self, header, text, where):
        schema = header["schema"]
        number = schema.get("type") == "integer" or isinstance(
            schema.get("enum", [""])[0], int)
        self.judge_value(int(text) if number else text, schema, where)

    def judge_headers(self, response, r, where):
        documented = {n.lower(): self.follow(h)
                      for n, h in response.get("headers", {}).items()}
        for name, header in documented.items():
            assert r[name] is not None or not header["required"], \
                f"{where}: {name} is missing"
        for name in {n.lower() for n in r.headers.keys()}:
            if name in TRANSPORT:
                continue
            assert name in documented, f"{where}: {name} is not documented"
            assert len(r.all(name)) == 1, f"{where}: {name} is there twice"
            self.judge_header(documented[name], r[name], f"{where} {name}")

    def judge_body(self, response, r, where):
        content = response.get("content")
        if content is None:
            assert r.body == b"" and r["Content-Type"] is None, where
            return
        media = re.split("[; ]", r["Content-Type"] or "")[0]
        assert media in content, f"{where}: {media}"
        value = r.json() if media.endswith("json") else r.body.decode()
        self.judge_value(value, content[media]["schema"], where)

    def judge(self, response, r, where):
        response = self.follow(response)
        self.judge_headers(response, r, where)
        self.judge_body(response, r, where)


def judge(op, r):
    """An operation's answer; it is returned."""
    where = f"{op} {r.status}"
    assert str(r.status) in op.responses, f"{where} is not documented: {r}"
    op.doc.judge(op.responses[str(r.status)], r, where)
    return r
