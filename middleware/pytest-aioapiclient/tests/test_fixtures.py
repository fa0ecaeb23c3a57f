"""The fixtures, the marker and the options, each in a separate pytest run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Protocol

import pytest

pytest_plugins = ["pytester"]


class CountingServer(Protocol):
    """The fixture ``server``."""

    url: str
    count: int


AUTO = """[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
filterwarnings = error
"""


def failing(result: pytest.RunResult) -> str:
    """The output of a run in which a test or a fixture failed."""
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    return result.stdout.str()


# --- mock_api, api_client, fake_clock


def test_a_client_on_routes(pytester: pytest.Pytester) -> None:
    """Routes answer a client of the factory, and its waits advance the clock."""
    pytester.makeini(AUTO)
    pytester.makepyfile(
        """
        from aioapiclient.testing import respond

        async def test_it(mock_api, api_client, fake_clock):
            users = mock_api.get("/users/{id}").then(respond(503, headers={"Retry-After": "20"}))
            users.respond(json={"id": 7})
            api = api_client("https://api.example.com/v1")
            assert await api.get("/users/{id}", path_params={"id": 7}) == {"id": 7}
            assert (users.call_count, users.path_params, fake_clock.sleeps) == (2, {"id": "7"}, [20.0])
        """
    )

    pytester.runpytest_inprocess().assert_outcomes(passed=1)


def test_a_class_of_yours_on_routes(pytester: pytest.Pytester) -> None:
    """The factory calls a class with your arguments, and passes it the transport."""
    pytester.makeini(AUTO)
    pytester.makepyfile(
        """
        from aioapiclient import AsyncAPIClient

        class Library(AsyncAPIClient):
            def __init__(self, token, *, transport=None):
                super().__init__("https://library.example.com", transport=transport)
                self.token = token

        async def test_it(mock_api, api_client):
            mock_api.get("/books").respond(json=[])
            async with api_client(Library, "a-token") as library:
                assert (type(library), library.token) == (Library, "a-token")
                assert await library.get("/books") == []
            async with api_client() as second:
                assert await second.get("/books") == []
        """
    )

    pytester.runpytest_inprocess().assert_outcomes(passed=1)


SWALLOWS = """
    async def test_it(mock_api, api_client):
        mock_api.get("/users/{id}", params={"page": 1}).respond()
        mock_api.must_call_all = False
        api = api_client("https://api.example.com/v1")
        try:
            await api.get("/users/7", params={"page": 2})
        except AssertionError:
            pass
        assert len(mock_api.calls) == 1
"""


def test_a_swallowed_refusal_fails_the_test(pytester: pytest.Pytester) -> None:
    """An unexpected request fails the test at its teardown if the code swallows it; it is sent once."""
    pytester.makeini(AUTO)
    pytester.makepyfile(SWALLOWS)

    result = pytester.runpytest_inprocess()

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        [
            "the code under test swallowed this:",
            "no route for GET https://api.example.com/v1/users/7[?]page=2",
            "  GET /users/{id} params={'page': '1'}: params?'page'? is '2', not '1'",
        ]
    )


def test_a_refusal_that_is_seen_is_told_once(pytester: pytest.Pytester) -> None:
    """A test that fails with the refusal has no second error for it, nor for uncalled routes."""
    pytester.makeini(AUTO)
    pytester.makepyfile(
        """
        async def test_it(mock_api, api_client):
            mock_api.get("/users")
            await api_client().get("/books")
        """
    )

    result = pytester.runpytest_inprocess()

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*AssertionError: no route for GET https://api.example.com/books"])


def test_a_refusal_that_is_expected_is_taken_back(pytester: pytest.Pytester) -> None:
    """A test that expects a refusal clears it, and passes."""
    pytester.makeini(AUTO)
    pytester.makepyfile(
        """
        import pytest

        async def test_it(mock_api, api_client):
            with pytest.raises(AssertionError, match="there are no routes"):
                await api_client().get("/books")
            mock_api.unexpected.clear()
        """
    )

    pytester.runpytest_inprocess().assert_outcomes(passed=1)


@pytest.mark.parametrize(("line", "errors"), [("pass", 1), ("mock_api.must_call_all = False", 0)])
def test_a_route_that_nothing_calls(pytester: pytest.Pytester, line: str, errors: int) -> None:
    """An uncalled route fails the test, unless the test allows it."""
    pytester.makeini(AUTO)
    pytester.makepyfile(
        f"""
        def test_it(mock_api):
            mock_api.get("/users")
            {line}
        """
    )

    result = pytester.runpytest_inprocess()

    result.assert_outcomes(passed=1, errors=errors)
    if errors:
        result.stdout.fnmatch_lines(["routes that were not called:", "  GET /users"])


def test_fixtures_of_a_project_come_first(pytester: pytest.Pytester) -> None:
    """A project with fixtures of these names keeps using its own."""
    pytester.makeini(AUTO)
    pytester.makeconftest(
        """
        import pytest

        @pytest.fixture
        def mock_api(): return "mine"

        @pytest.fixture
        def cassette(): return "mine too"
        """
    )
    pytester.makepyfile(
        "def test_it(mock_api, cassette): assert (mock_api, cassette) == ('mine', 'mine too')"
    )

    pytester.runpytest_inprocess().assert_outcomes(passed=1)


# --- cassette

RECORDED = """
    import pytest
    from aioapiclient import AsyncAPIClient, BearerAuth

    async def test_it(cassette):
        async with AsyncAPIClient("{base}", auth=BearerAuth("hush-hush-1"), transport=cassette) as api:
            answer = await api.get("/users/{{id}}", path_params={{"id": 7}})
            assert answer == {{"path": "/users/7", "count": {count}}}
"""


def cassettes(pytester: pytest.Pytester) -> dict[str, int]:
    """Each file of a cassette, with the number of its lines."""
    files = sorted((pytester.path / "cassettes").rglob("*"))
    return {
        file.relative_to(pytester.path).as_posix(): len(file.read_text().splitlines())
        for file in files
        if file.is_file()
    }


def test_none_records_nothing(pytester: pytest.Pytester, server: CountingServer) -> None:
    """Without ``--record`` nothing is sent: a test without a file fails, and the message explains what to
    do.
    """
    pytester.makeini(AUTO)
    pytester.makepyfile(RECORDED.format(base=server.url, count=1))

    output = failing(pytester.runpytest_inprocess())

    assert "record it with pytest --record=new" in output
    assert "the file does not exist" in output
    assert (server.count, cassettes(pytester)) == (0, {})


def test_once_records_once(pytester: pytest.Pytester, server: CountingServer) -> None:
    """``--record=once`` writes the file, and reports it; after that nothing is sent, with or without it."""
    pytester.makeini(AUTO)
    pytester.makepyfile(test_users=RECORDED.format(base=server.url, count=1))

    first = pytester.runpytest_inprocess("--record=once")
    first.assert_outcomes(passed=1)
    first.stdout.fnmatch_lines(["*cassettes recorded*", "*/cassettes/test_users/test_it.jsonl (1 take)"])
    for option in ("--record=once", "--record=none", "--record=new"):
        again = pytester.runpytest_inprocess(option)
        again.assert_outcomes(passed=1)
        again.stdout.no_fnmatch_line("*cassettes recorded*")

    assert (server.count, cassettes(pytester)) == (1, {"cassettes/test_users/test_it.jsonl": 1})
    assert "hush" not in (pytester.path / "cassettes/test_users/test_it.jsonl").read_text()


def test_all_records_again(pytester: pytest.Pytester, server: CountingServer) -> None:
    """``--record=all`` calls the server again, and replaces the file."""
    pytester.makeini(AUTO)
    pytester.makepyfile(test_users=RECORDED.format(base=server.url, count=1))
    pytester.runpytest_inprocess("--record=all").assert_outcomes(passed=1)
    pytester.makepyfile(test_users=RECORDED.format(base=server.url, count=2))
    pytester.runpytest_inprocess("--record=none").assert_outcomes(failed=1)

    pytester.runpytest_inprocess("--record=all").assert_outcomes(passed=1)

    pytester.runpytest_inprocess("--record=none").assert_outcomes(passed=1)
    assert (server.count, cassettes(pytester)) == (2, {"cassettes/test_users/test_it.jsonl": 1})


def test_new_adds_what_is_missing(pytester: pytest.Pytester, server: CountingServer) -> None:
    """``--record=new`` plays the recorded takes and adds the others; existing lines stay byte for byte the
    same.
    """
    pytester.makeini(AUTO)
    one = RECORDED.format(base=server.url, count=1)
    pytester.makepyfile(test_users=one)
    pytester.runpytest_inprocess("--record=new").assert_outcomes(passed=1)
    file = pytester.path / "cassettes/test_users/test_it.jsonl"
    before = file.read_text()
    more = '            assert await api.get("/books") == {"path": "/books", "count": 2}\n'
    pytester.makepyfile(test_users=one + more)

    pytester.runpytest_inprocess("--record=new").assert_outcomes(passed=1)

    assert file.read_text().startswith(before)
    assert (server.count, cassettes(pytester)) == (2, {"cassettes/test_users/test_it.jsonl": 2})


def test_a_failed_test_writes_nothing(pytester: pytest.Pytester, server: CountingServer) -> None:
    """The recording of a failed test is not written, and an old file is not replaced."""
    pytester.makeini(AUTO)
    pytester.makepyfile(test_users=RECORDED.format(base=server.url, count=99))

    output = failing(pytester.runpytest_inprocess("--record=all"))

    assert "test_it.jsonl was not written, because the test failed" in output
    assert (server.count, cassettes(pytester)) == (1, {})


def test_a_swallowed_miss_fails_the_test(pytester: pytest.Pytester) -> None:
    """A request that is not on the cassette fails the test if the code swallows the error."""
    pytester.makeini(AUTO)
    pytester.makepyfile(
        """
        from aioapiclient import AsyncAPIClient

        async def test_it(cassette):
            async with AsyncAPIClient("https://api.example.com", transport=cassette) as api:
                try:
                    await api.get("/users")
                except AssertionError:
                    pass
        """
    )

    result = pytester.runpytest_inprocess()

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        ["the code under test swallowed this:", "GET https://api.example.com/users is not*"]
    )


def test_the_marker_names_the_file(pytester: pytest.Pytester, server: CountingServer) -> None:
    """Two tests may share a file by its name; recording the second does not replace the takes of the
    first.
    """
    pytester.makeini(AUTO)
    pytester.makepyfile(
        f"""
        import pytest
        from aioapiclient import AsyncAPIClient

        pytestmark = pytest.mark.cassette("shared/users", match=["method", "path"])

        @pytest.mark.parametrize("number", [1, 2])
        async def test_it(cassette, number):
            async with AsyncAPIClient("{server.url}", transport=cassette) as api:
                answer = await api.get(f"/users/{{number}}", params={{"at": id(cassette)}})
                assert answer["path"] == f"/users/{{number}}"
        """
    )

    for option in ("--record=all", "--record=all", "--record=none"):
        pytester.runpytest_inprocess(option, "--strict-markers").assert_outcomes(passed=2)

    assert (server.count, cassettes(pytester)) == (4, {"cassettes/shared/users.jsonl": 2})


@pytest.mark.parametrize("option", ["", "--record=none"])
def test_a_loop_repeats(pytester: pytest.Pytester, server: CountingServer, option: str) -> None:
    """With ``mode="loop"`` the takes of a request repeat; without it the second request is refused."""
    pytester.makeini(AUTO)
    test = f"""
        import pytest
        from aioapiclient import AsyncAPIClient

        @pytest.mark.cassette("loop", MODE)
        async def test_it(cassette):
            async with AsyncAPIClient("{server.url}", transport=cassette) as api:
                assert [(await api.get("/users"))["count"] for _ in range(TIMES)] == [1] * TIMES
    """
    pytester.makepyfile(test.replace("TIMES", "1").replace("MODE", ""))
    pytester.runpytest_inprocess("--record=once").assert_outcomes(passed=1)

    pytester.makepyfile(test.replace("TIMES", "3").replace("MODE", "mode='loop'"))
    pytester.runpytest_inprocess(*option.split()).assert_outcomes(passed=1)
    pytester.makepyfile(test.replace("TIMES", "3").replace("MODE", ""))
    output = failing(pytester.runpytest_inprocess(*option.split()))

    assert "1. GET /users: it was already played; mode='loop' repeats" in output
    assert server.count == 1


def test_the_settings(pytester: pytest.Pytester, server: CountingServer) -> None:
    """The ini options set the default mode and the folder; the command line wins."""
    pytester.makeini(AUTO + "aioapiclient_record = once\naioapiclient_cassette_dir = tapes/http\n")
    pytester.makepyfile(test_users=RECORDED.format(base=server.url, count=1))

    pytester.runpytest_inprocess("--record=none").assert_outcomes(failed=1)
    pytester.runpytest_inprocess().assert_outcomes(passed=1)

    file = pytester.path / "tapes/http/test_users/test_it.jsonl"
    assert json.loads(file.read_text())["request"] == {"method": "GET", "path": "/users/7"}


@pytest.mark.parametrize(
    ("ini", "option", "message"),
    [
        (
            "aioapiclient_record = ever",
            "",
            "aioapiclient_record must be one of none, once, new, all, not 'ever'",
        ),
        ("", "--record=ever", "argument --record: invalid choice: 'ever'*"),
    ],
)
def test_a_wrong_setting(pytester: pytest.Pytester, ini: str, option: str, message: str) -> None:
    """A mode that does not exist is refused before any test runs."""
    pytester.makeini(f"{AUTO}\n{ini}\n")

    result = pytester.runpytest_inprocess(*option.split())

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{message}"])


def test_the_names_of_files(pytester: pytest.Pytester, server: CountingServer) -> None:
    """Each test has a separate file, even if two names differ only in characters not allowed in a file
    name.
    """
    pytester.makeini(AUTO)
    pytester.makepyfile(
        test_users=f"""
        import pytest
        from aioapiclient import AsyncAPIClient

        class TestUsers:
            @pytest.mark.parametrize("name", ["a/b", "a:b", "../../x"])
            async def test_it(self, cassette, name):
                async with AsyncAPIClient("{server.url}", transport=cassette) as api:
                    await api.get("/users")
        """
    )

    pytester.runpytest_inprocess("--record=once").assert_outcomes(passed=3)

    names = [Path(name) for name in cassettes(pytester)]
    assert [name.parent.as_posix() for name in names] == ["cassettes/test_users"] * 3
    assert all(name.name.startswith("TestUsers.test_it-") for name in names)


def test_clients_of_one_test_share_its_cassette(pytester: pytest.Pytester, server: CountingServer) -> None:
    """Closing a client ends neither the recording nor the cassette of another client."""
    pytester.makeini(AUTO)
    pytester.makepyfile(
        f"""
        from aioapiclient import AsyncAPIClient

        async def test_it(cassette):
            for count in (1, 2):
                async with AsyncAPIClient("{server.url}", transport=cassette) as api:
                    assert (await api.get("/users"))["count"] == count
        """
    )

    pytester.runpytest_inprocess("--record=once").assert_outcomes(passed=1)
    pytester.runpytest_inprocess().assert_outcomes(passed=1)

    assert server.count == 2
