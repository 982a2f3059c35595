"""The description of the service for programs (OpenAPI 3.1)."""

from typing import Any, Final

from bitvm_bridge import __version__
from bitvm_bridge.exchange import envelope
from bitvm_bridge.service.credentials import NONCE_SIZE, SCHEME, WINDOW
from bitvm_bridge.service.limits import MAX_PAGE, MAX_WAIT, Limits
from bitvm_bridge.service.office import CURSOR

Json = dict[str, Any]

_SECURITY: Final = f"""\
`{SCHEME} key=…, time=…, nonce=…, body=…, signature=…` in lower-case hex (`time` in decimal): an x-only identity key of
the roster, seconds since 1970 (at most {WINDOW} from the service's clock), {NONCE_SIZE} random bytes that this key has
not used before, SHA256 of the body (of nothing where there is none), and a BIP340 signature of the tagged hash
`BitVMBridge/request` of: method, Host header (lower case) and target with its query, each ended by a line feed; the
time as 8 bytes, big endian; the nonce; the hash of the body."""
_STATUSES: Final = {
    400: "A value that cannot be used: its name, what it was, what is expected.",
    401: "Not signed by a party of the roster, not for here and now, or not for the first time.",
    403: "The envelope's signature does not verify, or its author is not the one who signed the request.",
    404: "There is no such envelope.",
    405: "Not with this method.",
    408: "The request was not over in time.",
    410: "The cursor is of another mailbox; start again without one.",
    413: "The envelope is too long.",
    415: "The body is not `application/json`.",
    421: "The service is not known by the name in the Host header.",
    429: "Too many requests of this party at once.",
    500: "The service failed.",
    503: "The service cannot answer now.",
    507: "No room is left for this author.",
}
_ANY: Final = (405, 408, 421, 500, 503)
_PARTIES: Final = (400, 401, 429, *_ANY)


def describe(limits: Limits) -> Json:
    """The document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "bitvm-bridge exchange",
            "version": __version__,
            "description": "Keeps the signed envelopes by which the parties of a bridge set up deposits and instances.",
        },
        "paths": {
            "/v1/envelopes": {"get": _since(), "post": _put(limits)},
            "/v1/envelopes/{id}": {"get": _get()},
            "/v1/contradictions": {"get": _contradictions()},
            "/v1/health": {"get": _public("health", "Whether the service answers, and its clock.", _ref("Health"))},
            "/openapi.json": {"get": _public("openapi", "This document.", {"type": "object"})},
        },
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {"request": {"type": "http", "scheme": SCHEME, "description": _SECURITY}},
        },
    }


def _since() -> Json:
    parameters = [
        _query("cursor", "What came after it; everything where there is none.", _cursor()),
        _query("limit", "Envelopes in the answer, at most.", _range(1, MAX_PAGE) | {"default": MAX_PAGE}),
        _query("wait", "Seconds to wait where there is nothing yet.", _range(0, MAX_WAIT) | {"default": 0}),
    ]
    summary = "Envelopes in the order in which they came."
    return _signed("since", summary, {200: _ref("Page")}, 410) | {"parameters": parameters}


def _put(limits: Limits) -> Json:
    content = {"application/json": {"schema": _ref("Envelope")}}
    body = {"required": True, "description": f"At most {limits.body:,} bytes.", "content": content}
    answers = {200: _ref("Receipt"), 201: _ref("Receipt")}
    summary = "Keep an envelope of the party that signs the request; the same one again changes nothing."
    return _signed("put", summary, answers, 403, 413, 415, 507) | {"requestBody": body}


def _get() -> Json:
    parameter = {"name": "id", "in": "path", "required": True, "schema": _hex(32)}
    return _signed("get", "One envelope.", {200: _ref("Envelope")}, 404) | {"parameters": [parameter]}


def _contradictions() -> Json:
    return _signed("contradictions", "Who said two things where there is one to say.", {200: _ref("Contradictions")})


def _signed(name: str, summary: str, answers: dict[int, Json], *refusals: int) -> Json:
    operation = _operation(name, summary, answers, (*_PARTIES, *refusals))
    return operation | {"security": [{"request": []}]}


def _public(name: str, summary: str, schema: Json) -> Json:
    return _operation(name, summary, {200: schema}, _ANY) | {"security": []}


def _operation(name: str, summary: str, answers: dict[int, Json], refusals: tuple[int, ...]) -> Json:
    described = {status: _answer("Done.", schema) for status, schema in answers.items()}
    described |= {status: _answer(_STATUSES[status], _ref("Error")) for status in refusals}
    responses = {str(status): described[status] for status in sorted(described)}
    return {"operationId": name, "summary": summary, "responses": responses}


def _answer(text: str, schema: Json) -> Json:
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _query(name: str, text: str, schema: Json) -> Json:
    return {"name": name, "in": "query", "description": text, "schema": schema}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _cursor() -> Json:
    return {"type": "string", "pattern": f"^({CURSOR})?$"}


def _range(least: int, most: int) -> Json:
    return {"type": "integer", "minimum": least, "maximum": most}


def _hex(size: int) -> Json:
    return {"type": "string", "pattern": f"^[0-9a-fA-F]{{{2 * size}}}$"}


def _object(**properties: Json) -> Json:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _list(items: Json) -> Json:
    return {"type": "array", "items": items}


def _schemas() -> Json:
    text: Json = {"type": "string"}
    kind: Json = {"type": "string", "pattern": f"^[a-z-]{{1,{envelope.MAX_KIND}}}$"}
    contradiction = _object(
        author=_hex(32), party=text, session=_hex(32), kind=kind, times={"type": "integer"}, ids=_list(_hex(32))
    )
    return {
        "Envelope": _object(
            version={"type": "integer", "const": envelope.VERSION},
            kind=kind,
            session=_hex(32),
            author=_hex(32),
            body={"type": "object"},
            signature=_hex(64),
        ),
        "Receipt": _object(id=_hex(32), new={"type": "boolean"}, contradicts=_list(_hex(32))),
        "Page": _object(envelopes=_list(_ref("Envelope")), cursor=_cursor(), more={"type": "boolean"}),
        "Contradictions": _object(contradictions=_list(contradiction)),
        "Health": _object(status={"const": "ok"}, time={"type": "integer"}),
        "Error": {
            "type": "object",
            "properties": {"error": text, "field": text, "value": text, "expected": text},
            "required": ["error"],
            "additionalProperties": False,
        },
    }
