"""The layers of headers, compared with a model: library < client < auth < call, later ones win, OMIT
removes.
"""

from __future__ import annotations

import asyncio
from typing import Any

from helpers import BASE, Client, Script, reply
from hypothesis import given
from hypothesis import strategies as st

from aioapiclient import OMIT, APIKeyAuth

NAMES = st.sampled_from(
    ["X-API-Key", "x-api-key", "X-A", "x-a", "Accept", "ACCEPT", "User-Agent", "Content-Type", "X-B", "x-B"]
)
VALUES = st.one_of(
    st.just(OMIT), st.from_regex(r"[!-~]{1,5}", fullmatch=True), st.sampled_from(["a b", "a\tb", "\u00e9"])
)
LAYERS = st.dictionaries(NAMES, VALUES, max_size=5)
# One spelling per layer: a name in two spellings is refused or depends on the order.
LAYERS = LAYERS.map(lambda layer: {name.lower(): (name, value) for name, value in layer.items()}).map(
    lambda layer: dict(layer.values())
)


def laid(*layers: dict[str, Any]) -> dict[str, str]:
    """The headers that result from *layers*, by name in lower case."""
    found: dict[str, Any] = {}
    for layer in layers:
        found.update({name.lower(): value for name, value in layer.items()})
    return {name: value for name, value in found.items() if value is not OMIT}


@given(default=LAYERS, options=LAYERS, call=LAYERS, has_auth=st.booleans(), attempts=st.integers(1, 2))
def test_the_layers_of_headers(
    default: dict[str, Any], options: dict[str, Any], call: dict[str, Any], has_auth: bool, attempts: int
) -> None:
    """Whatever each layer sets or omits, in any case of the names, each attempt sends the headers of the
    model.
    """
    script = Script(*[reply(503)] * (attempts - 1), reply())
    bare = Script()
    auth = APIKeyAuth("secret") if has_auth else None

    async def send() -> None:
        async with Client(BASE, transport=bare) as api:
            await api.post("/", json={})
        async with Client(BASE, default_headers=default, auth=auth, transport=script) as api:
            await api.post("/", json={}, headers=call, options={"headers": options}, idempotent=True)

    asyncio.run(send())
    library = dict(bare.last.headers)
    expected = laid(library, default, {"X-API-Key": "secret"} if has_auth else {}, call, options)

    assert len(script.requests) == attempts
    for request in script.requests:
        assert {name.lower(): value for name, value in request.headers.items()} == expected
