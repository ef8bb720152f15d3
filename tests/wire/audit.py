"""Where each known weakness of servers, and each rule of the parser, is tested: by its name.

A place is a case of the corpus, or a test as FILE::NAME below `tests`.  test_audit.py sees to it
that every place is there, and that every case that bears the name of a weakness is named here.
"""

from typing import Final

_HOSTILE: Final = "process/test_hostile.py::"
_FAULTS: Final = "process/test_app_faults.py::"
_WSGI: Final = "unit/test_wsgi.py::"
_DEFLATE: Final = "unit/test_deflate.py::"
_FRAMES: Final = "unit/test_websocket_protocol.py::"
_SESSION: Final = "unit/test_websocket_session.py::"
_COST: Final = "wire/test_cost.py::"
_RESPONSE: Final = "unit/test_response.py::"

# What servers and their parsers were caught at.
WEAKNESSES: Final[dict[str, tuple[str, ...]]] = {
    # Requests that are read as others than they are.
    "CVE-2019-15605 http_parser": ("vulnerabilities/cve-2019-15605-http-parser-te",),
    "CVE-2019-16785 waitress": ("vulnerabilities/cve-2019-16785-waitress-bare-lf",),
    "CVE-2019-16786 waitress": ("vulnerabilities/cve-2019-16786-waitress-te-list",),
    "CVE-2019-16789 waitress": ("vulnerabilities/cve-2019-16789-waitress-vt",),
    "CVE-2019-16792 waitress": ("vulnerabilities/cve-2019-16792-waitress-two-lengths",),
    "CVE-2020-10108 twisted": ("vulnerabilities/cve-2020-10108-twisted-two-lengths",),
    "CVE-2020-10109 twisted": ("vulnerabilities/cve-2020-10109-twisted-cl-te",),
    "CVE-2022-24761 waitress": (
        "vulnerabilities/cve-2022-24761-waitress-chunk-extension",
        "vulnerabilities/cve-2022-24761-waitress-hex-length",
        "vulnerabilities/cve-2022-24761-waitress-plus-length",
    ),
    "CVE-2022-24801 twisted": (
        "vulnerabilities/cve-2022-24801-twisted-hex-chunk",
        "vulnerabilities/cve-2022-24801-twisted-lf-in-extension",
        "vulnerabilities/cve-2022-24801-twisted-signed-length",
        "vulnerabilities/cve-2022-24801-twisted-trimming",
    ),
    "CVE-2022-29361 werkzeug": (
        "vulnerabilities/cve-2022-29361-werkzeug-unread-body",
        _HOSTILE + "test_a_body_that_nobody_read_is_never_taken_for_a_request",
    ),
    "CVE-2022-32213 llhttp": ("vulnerabilities/cve-2022-32213-llhttp-unvalidated-te",),
    "CVE-2022-32214 llhttp": ("vulnerabilities/cve-2022-32214-llhttp-lf-line-end",),
    "CVE-2022-32215 llhttp": ("vulnerabilities/cve-2022-32215-llhttp-multi-line-te",),
    "CVE-2022-35256 llhttp": ("vulnerabilities/cve-2022-35256-llhttp-field-end",),
    "CVE-2023-30589 llhttp": ("vulnerabilities/cve-2023-30589-llhttp-lone-cr",),
    "CVE-2023-37276 aiohttp": ("vulnerabilities/cve-2023-37276-aiohttp-control-in-value",),
    "CVE-2023-38697 falcon": ("vulnerabilities/cve-2023-38697-falcon-plus-chunk",),
    "CVE-2023-40175 puma": ("vulnerabilities/cve-2023-40175-puma-zero-chunk",),
    "CVE-2023-41419 gevent": ("vulnerabilities/cve-2023-41419-gevent-trailers",),
    "CVE-2023-46137 twisted": ("vulnerabilities/cve-2023-46137-twisted-pipelined-order",),
    "CVE-2023-47627 aiohttp": ("vulnerabilities/cve-2023-47627-aiohttp-length-leniency",),
    "CVE-2023-47641 aiohttp": ("vulnerabilities/cve-2023-47641-aiohttp-cl-te",),
    "CVE-2024-1135 gunicorn": (
        "vulnerabilities/cve-2024-1135-gunicorn-chunked-not-last",
        "vulnerabilities/cve-2024-1135-gunicorn-conflicting-te",
    ),
    "CVE-2024-23829 aiohttp": (
        "vulnerabilities/cve-2024-23829-aiohttp-bad-version",
        "vulnerabilities/cve-2024-23829-aiohttp-space-before-colon",
    ),
    "CVE-2024-27982 llhttp": (
        "vulnerabilities/cve-2024-27982-llhttp-folded-length",
        "vulnerabilities/cve-2024-27982-llhttp-space-before-length",
    ),
    "CVE-2024-41671 twisted": ("vulnerabilities/cve-2024-41671-twisted-pipelined-data",),
    "CVE-2024-49768 waitress": (
        "vulnerabilities/cve-2024-49768-waitress-pipelined-after-refusal",
        _HOSTILE + "test_nothing_is_served_after_the_last_request_of_a_connection",
    ),
    "CVE-2024-52304 aiohttp": ("vulnerabilities/cve-2024-52304-aiohttp-lf-in-extension",),
    "CVE-2024-6827 gunicorn": ("vulnerabilities/cve-2024-6827-gunicorn-unknown-te",),
    "CVE-2025-22871 go": ("vulnerabilities/cve-2025-22871-go-lf-size-line",),
    "CVE-2025-43859 h11": ("vulnerabilities/cve-2025-43859-h11-chunk-end",),
    "CVE-2025-53643 aiohttp": ("vulnerabilities/cve-2025-53643-aiohttp-trailers",),
    "CVE-2025-55315 kestrel": ("vulnerabilities/cve-2025-55315-kestrel-lf-in-extension",),
    "CVE-2025-57804 h2": ("vulnerabilities/cve-2025-57804-h2-colon-in-name",),
    "CVE-2025-58056 netty": ("vulnerabilities/cve-2025-58056-netty-lf-size-line",),
    "CVE-2025-58068 eventlet": ("vulnerabilities/cve-2025-58068-eventlet-trailers",),
    "CVE-2026-44546 daphne": tuple(
        f"vulnerabilities/cve-2026-44546-daphne-{byte}-in-handshake"
        for byte in ("0b", "0c", "1c", "1d", "1e", "85")
    ),
    "GHSA-753j-mpmx-qq6g tornado": ("vulnerabilities/ghsa-753j-mpmx-qq6g-tornado-two-te",),
    "GHSA-mfx4-hv73-q22v aiohttp": (
        "vulnerabilities/ghsa-mfx4-hv73-q22v-aiohttp-after-upgrade",
        "vulnerabilities/ghsa-mfx4-hv73-q22v-aiohttp-refused-upgrade",
        "process/test_websocket.py::test_a_bad_handshake_is_answered_and_nothing_after_it_is_read",
    ),
    "GHSA-qppv-j76h-2rpx tornado": ("vulnerabilities/ghsa-qppv-j76h-2rpx-tornado-signed-chunk",),
    "RUSTSEC-2020-0008 hyper": ("vulnerabilities/rustsec-2020-0008-hyper-te",),
    "RUSTSEC-2021-0020 hyper": ("vulnerabilities/rustsec-2021-0020-hyper-chunk-sign",),
    "RUSTSEC-2021-0079 hyper": ("vulnerabilities/rustsec-2021-0079-hyper-chunk-overflow",),
    "django/daphne#497": (
        "vulnerabilities/daphne-497-control-in-name",
        "vulnerabilities/daphne-497-non-ascii-name",
        "vulnerabilities/daphne-497-separator-in-name",
    ),
    "gunicorn#3047": ("vulnerabilities/gunicorn-3047-trimming",),
    "gunicorn#3087": ("vulnerabilities/gunicorn-3087-te-list",),
    "gunicorn#3091": ("vulnerabilities/gunicorn-3091-empty-name",),
    "gunicorn#3104": ("vulnerabilities/gunicorn-3104-nul-in-value",),
    "gunicorn#3144": ("vulnerabilities/gunicorn-3144-chunk-size",),
    "gunicorn 25.3 to 26.1, ASGI": (
        "vulnerabilities/gunicorn-asgi-chunked-1.0",
        "vulnerabilities/gunicorn-asgi-cr-in-extension",
        "vulnerabilities/gunicorn-asgi-cut-after-zero-chunk",
        "vulnerabilities/gunicorn-asgi-duplicate-cl",
        "vulnerabilities/gunicorn-asgi-forbidden-trailer",
        "vulnerabilities/gunicorn-asgi-stacked-chunked",
        "content-length/list",
        "fields/repeated-content-type",
        "host/repeated",
        "target/asterisk-with-get",
        "target/authority-with-get",
        "transfer-encoding/with-content-length",
    ),
    "h2 4.4": (
        "vulnerabilities/h2-4.4-duplicate-host",
        "content-length/repeated",
        "target/connect-authority",
    ),
    "http-garden 30, llhttp": ("vulnerabilities/http-garden-30-llhttp-block-end",),
    "http-garden 31, llhttp": ("vulnerabilities/http-garden-31-llhttp-chunk-line-end",),
    "pgjones/hypercorn#277": ("vulnerabilities/hypercorn-277-connect",),
    "twisted#12754": (
        "vulnerabilities/twisted-12754-cr-hides-length",
        "vulnerabilities/twisted-12754-lf-hides-length",
    ),
    "waitress, two Transfer-Encoding": (
        "vulnerabilities/waitress-te-twice",
        "transfer-encoding/with-content-length",
    ),
    # What gets into responses, the log and the scope.
    "CVE-2018-1000164 gunicorn": (
        _RESPONSE + "test_fields_that_would_break_a_head_are_refused",
        _RESPONSE + "test_a_link_that_would_break_a_head_is_refused",
        "unit/test_exchange.py::test_a_trailer_that_may_not_be_one_is_refused",
        "unit/test_handshake.py::test_headers_that_would_inject_lines_are_the_applications_fault",
    ),
    "CVE-2020-7694 uvicorn": (
        "vulnerabilities/cve-2020-7694-uvicorn-escapes-in-path",
        "unit/test_access_log.py::test_what_a_client_sends_never_makes_two_lines",
    ),
    "CVE-2020-7695 uvicorn": (_FAULTS + "test_a_fault_before_the_response_is_a_500",),
    "CVE-2022-39348 twisted": (
        _HOSTILE + "test_a_refusal_is_one_line_with_what_an_operator_needs",
    ),
    "CVE-2025-67724 tornado": (_WSGI + "test_a_reason_that_would_break_the_line_is_refused",),
    "CVE-2026-42545 granian": (
        _FAULTS + "test_a_worker_outlives_every_fault",
        _WSGI + "test_a_header_that_is_none_is_refused",
        "process/test_wsgi_faults.py::test_a_fault_before_the_response_is_a_500",
    ),
    "gunicorn#3588": (_RESPONSE + "test_a_link_that_would_break_a_head_is_refused",),
    "romm#4635": ("process/test_proxies.py::test_whoever_is_not_in_the_list_is_not_believed",),
    "uvicorn#1068": (
        "unit/test_proxy.py::test_the_client_is_the_first_hop_from_the_right_that_is_not_trusted",
        "process/test_proxies.py::test_trust_in_everybody_is_warned_of_where_others_can_connect",
    ),
    "waitress 3.0.2": ("unit/test_proxy.py::test_the_claims_of_a_stranger_are_hidden_on_demand",),
    # What makes a server stop, grow or toil.
    "CVE-2018-1000518 websockets": (
        _DEFLATE + "test_a_bomb_is_refused_without_being_inflated",
        "process/test_websocket.py::"
        "test_a_message_that_would_inflate_to_a_gigabyte_costs_little_memory",
    ),
    "CVE-2019-9516, over HTTP/1": ("vulnerabilities/cve-2019-9516-empty-names",),
    "CVE-2020-5236 waitress": ("vulnerabilities/cve-2020-5236-waitress-bad-line",),
    "CVE-2021-21419 eventlet": (
        _SESSION + "test_a_message_over_the_limit_closes_with_1009",
        _DEFLATE + "test_a_bomb_is_refused_without_being_inflated",
    ),
    "CVE-2022-31015 waitress": (
        "process/test_lane_clients.py::test_nobody_is_blamed_when_a_client_leaves",
        "process/test_threads.py::test_a_client_that_leaves_ends_its_stream",
    ),
    "CVE-2023-34188 mongoose": ("vulnerabilities/cve-2023-34188-mongoose-negative-length",),
    "CVE-2024-49769 waitress": (_HOSTILE + "test_clients_that_have_half_left_cost_no_time",),
    "CVE-2024-52804 tornado": (
        "unit/test_handshake.py::test_a_long_field_of_extensions_is_read_in_linear_time",
        "limits/long-cookie",
    ),
    "CVE-2025-47287 tornado": (
        _HOSTILE + "test_a_flood_of_bad_requests_writes_few_lines_and_a_count",
        "unit/test_fault_log.py::"
        "test_one_reason_gets_one_line_a_second_and_the_next_line_counts_what_was_hidden",
    ),
    "CVE-2025-67725 tornado": ("vulnerabilities/cve-2025-67725-tornado-repeated-name",),
    "CVE-2025-67726 tornado": (
        "unit/test_handshake.py::test_a_long_field_of_extensions_is_read_in_linear_time",
    ),
    "CVE-2025-69223 aiohttp": (_DEFLATE + "test_a_bomb_is_refused_without_being_inflated",),
    "CVE-2025-69224 to 69227 aiohttp": (
        "content-length/arabic-digit",
        "chunks/size-non-ascii-digit",
        "request-line/version-non-ascii-digit",
    ),
    "CVE-2025-69228 aiohttp": ("vulnerabilities/cve-2025-69228-aiohttp-total-limit",),
    "CVE-2025-69229 aiohttp": (
        "vulnerabilities/cve-2025-69229-aiohttp-tiny-chunks",
        _COST + "test_the_cost_grows_in_proportion_to_the_input",
    ),
    "CVE-2025-69230 aiohttp": (
        "unit/test_fault_log.py::"
        "test_one_reason_gets_one_line_a_second_and_the_next_line_counts_what_was_hidden",
    ),
    "CVE-2026-12151 undici": (
        "process/test_websocket.py::test_a_flood_of_tiny_fragments_is_refused",
    ),
    "CVE-2026-1526 undici": (_DEFLATE + "test_a_bomb_is_refused_without_being_inflated",),
    "CVE-2026-1528 undici": (
        _FRAMES + "test_a_violation_is_the_last_event_after_the_messages_before_it",
    ),
    "CVE-2026-42544 granian": (
        "vulnerabilities/cve-2026-42544-granian-subprotocol",
        "unit/test_handshake.py::test_a_bad_handshake_is_refused_with_status_and_reason",
    ),
    "CVE-2026-44545 daphne": (
        _SESSION + "test_a_message_over_the_limit_closes_with_1009",
        "process/test_websocket.py::test_messages_over_the_limit_are_refused_and_under_it_served",
    ),
    "CVE-2026-48779 ws": ("process/test_websocket.py::test_a_flood_of_tiny_fragments_is_refused",),
    "CVE-2026-59881 aiohttp": (
        _FRAMES + "test_a_violation_is_the_last_event_after_the_messages_before_it",
    ),
    "GHSA-rxc4-3w6r-4v47 vllm": ("vulnerabilities/ghsa-rxc4-3w6r-4v47-vllm-header-count",),
    "h11 0.15": ("vulnerabilities/h11-0.15-length-of-thousands-of-digits",),
    "uvicorn#2845": (_COST + "test_the_cost_grows_in_proportion_to_the_input",),
    "wsproto 1.3.2": (_DEFLATE + "test_a_bomb_is_refused_without_being_inflated",),
}

# What no part of this server could be caught at, and why.
NOT_OURS: Final[dict[str, str]] = {
    "CVE-2016-6580 priority": "no HTTP/2",
    "CVE-2016-6581 hpack": "no HTTP/2",
    "CVE-2019-9511 to 9518": "no HTTP/2",
    "CVE-2023-44487": "no HTTP/2",
    "CVE-2024-27316": "no HTTP/2",
    "CVE-2025-8671": "no HTTP/2",
    "CVE-2021-33880 websockets": "no secret is compared",
    "CVE-2023-49081 aiohttp": "no client",
    "CVE-2023-49082 aiohttp": "no client",
    "CVE-2024-23334 aiohttp": "no files are served by their paths",
    "CVE-2024-47874 starlette": "no forms are read",
    "CVE-2025-54121 starlette": "no forms are read",
    "CVE-2025-62727 starlette": "no Range field is read",
    "CVE-2026-34824 mesop": "no thread is started for a message",
}

# What a parser has to refuse, and what it has to accept (RFC 9110, RFC 9112).
RULES: Final[dict[str, tuple[str, ...]]] = {
    "chunk size with 0x": ("chunks/size-hex-prefix", "chunks/size-upper-hex-prefix"),
    "chunk size with a sign": ("chunks/size-plus", "chunks/size-minus", "chunks/size-minus-zero"),
    "chunk size with _": ("chunks/size-underscore",),
    "chunk size after spaces": ("chunks/size-space-before", "chunks/size-tab-before"),
    "chunk size empty": ("chunks/size-empty", "chunks/size-extension-without-size"),
    "chunk size of more than 16 digits": ("chunks/size-17-digits", "chunks/size-of-16-digits"),
    "chunk size by its longest valid prefix": (
        "chunks/size-letter-after",
        "chunks/size-space-inside",
        "chunks/size-comma",
    ),
    "chunk data not followed by CR LF": (
        "chunks/data-end-xx",
        "chunks/data-end-lf",
        "chunks/data-end-cr-x",
        "chunks/data-too-long",
    ),
    "chunk line ended by CR and another byte": ("chunks/size-cr-x", "chunks/size-cr-cr-lf"),
    "zero chunk not followed by CR LF": (
        "chunks/zero-chunk-then-two-bytes",
        "chunks/zero-chunk-then-cr-x",
    ),
    "after an invalid chunk nothing is read": ("chunks/no-resynchronisation",),
    "Content-Length empty": ("content-length/empty",),
    "Content-Length with a sign": ("content-length/plus", "content-length/minus"),
    "Content-Length with _": ("content-length/underscore",),
    "Content-Length with 0x": ("content-length/hex",),
    "Content-Length as a list": ("content-length/list", "content-length/list-equal"),
    "Content-Length repeated": ("content-length/repeated", "content-length/repeated-equal"),
    "Content-Length negative": ("content-length/minus", "content-length/negative-zero"),
    "Content-Length huge": ("content-length/huge", "content-length/thousands-of-digits"),
    "Content-Length next to Transfer-Encoding": (
        "transfer-encoding/with-content-length",
        "transfer-encoding/before-content-length",
    ),
    "Transfer-Encoding repeated": ("transfer-encoding/repeated",),
    "Transfer-Encoding: ,chunked": ("transfer-encoding/comma-first",),
    "Transfer-Encoding unknown": ("transfer-encoding/unknown",),
    "Transfer-Encoding: identity": ("transfer-encoding/identity",),
    "Transfer-Encoding quoted": ("transfer-encoding/quoted",),
    "Transfer-Encoding with NBSP": (
        "transfer-encoding/nbsp-before",
        "transfer-encoding/nbsp-after",
    ),
    "Transfer-Encoding with NEL": ("transfer-encoding/nel-before", "transfer-encoding/nel-after"),
    "Transfer-Encoding with VT": ("transfer-encoding/vt-before", "transfer-encoding/vt-after"),
    "Transfer-Encoding with FF": ("transfer-encoding/ff-before", "transfer-encoding/ff-after"),
    "Transfer-Encoding in HTTP/1.0": ("transfer-encoding/in-http-1.0",),
    "field name empty": ("fields/no-name",),
    "field name with space before the colon": (
        "fields/space-before-colon",
        "fields/tab-before-colon",
    ),
    "white space before the first field": (
        "fields/space-before-first-name",
        "fields/tab-before-first-name",
    ),
    "field name that is no token": ("fields/name-with-parenthesis", "fields/name-with-control"),
    "field name that is not ASCII": ("fields/name-with-non-ascii", "fields/name-with-utf8"),
    "field continued over lines": ("fields/obs-fold", "fields/name-over-lines"),
    "field without a colon": ("fields/no-colon",),
    "value with NUL": ("fields/nul-in-value",),
    "value with CR": ("fields/cr-in-value", "fields/cr-before-value"),
    "value with LF": ("fields/lf-in-value",),
    "only SP and HTAB are trimmed": ("fields/nbsp-not-trimmed", "fields/nel-not-trimmed"),
    "bytes from 0x80 on are kept": ("fields/obs-text", "fields/utf8-value"),
    "header block ended by CR LF CR X": ("fields/cr-x-at-the-end",),
    "method by its prefix": ("request-line/method-by-prefix",),
    "version by its prefix": ("request-line/version-prefix",),
    "version in lower case": ("request-line/version-lower-case",),
    "version 1.10": ("request-line/version-two-digit-minor",),
    "version 1.32": ("request-line/version-two-digit-minor-32",),
    "version 2.0": ("request-line/version-2.0", "request-line/http2-preface"),
    "HTTP/0.9": ("request-line/http-0.9", "request-line/http-0.9-named"),
    "LF as a separator": ("request-line/lf-as-separator",),
    "TAB as a separator": ("request-line/tab-as-separator",),
    "target with control bytes": ("target/bad-control", "target/bad-nul", "target/bad-tab"),
    "target with a space": ("target/space",),
    "target with a fragment": ("target/fragment-alone", "target/fragment-after-query"),
    "Host missing": ("host/missing",),
    "Host repeated": ("host/repeated", "host/repeated-equal"),
    "Host invalid": ("host/bad-space", "host/bad-user", "host/bad-list"),
    "an invalid request behind a valid one": ("pipelining/valid-then-invalid",),
    "Content-Length with leading zeros is decimal": (
        "content-length/leading-zeros",
        "content-length/leading-zero-is-decimal",
    ),
    "one empty line before the request line": ("request-line/one-empty-line-before",),
    "two empty lines before the request line": ("request-line/two-empty-lines-before",),
    "chunk extensions within limits": ("chunks/extension-value", "chunks/extension-too-long"),
    "hexadecimal digits in either case": ("chunks/lower-case-hex", "chunks/upper-case-hex"),
    "trailers are never among the headers": ("trailers/one", "trailers/several"),
}
