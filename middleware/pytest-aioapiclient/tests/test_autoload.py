"""pytest loads the plugin in every project: it costs little, and changes nothing."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest
import pytest_aioapiclient

pytest_plugins = ["pytester"]

INI = """[pytest]
asyncio_mode = {mode}
asyncio_default_fixture_loop_scope = function
filterwarnings = error
"""

USES = """
    import pytest
    from aioapiclient import AsyncAPIClient
    {mark}
    async def test_it(mock_api, api_client, fake_clock, cassette):
        mock_api.get("/users").respond(503).respond(json=1)
        async with api_client() as api:
            assert await api.get("/users") == 1
        assert len(fake_clock.sleeps) == 1
        assert cassette.unplayed == 0
"""


def test_nothing_heavy_is_imported() -> None:
    """Loading the plugin imports pytest and a few modules of the standard library, and none of
    aioapiclient.
    """
    code = (
        "import pytest, sys; before = set(sys.modules)\n"
        "import pytest_aioapiclient.plugin\n"
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before}))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert result.stdout.split() == ["pytest_aioapiclient"]


def test_a_project_that_does_not_use_it(pytester: pytest.Pytester) -> None:
    """A run with the plugin loaded imports no module of aioapiclient, and warns of nothing."""
    pytester.makeini(INI.format(mode="strict"))
    pytester.makepyfile(
        """
        import sys

        def test_it():
            assert not {"aioapiclient", "aioresponses", "msgspec"} & set(sys.modules)
        """
    )

    result = pytester.runpytest_subprocess("-p", "no:aiohttp", "-p", "no:hypothesispytest", "-W", "error")

    result.assert_outcomes(passed=1)
    assert "aioapiclient-" in result.stdout.str()


def test_coverage_of_the_library_is_whole(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project that measures the coverage of aioapiclient gets no warning that it was imported before."""
    pytester.makeini(INI.format(mode="auto"))
    pytester.makepyfile(USES.format(mark=""))

    # Not in the folder that tox sets, whose data files are combined later.
    monkeypatch.setenv("COVERAGE_FILE", str(pytester.path / ".coverage"))
    result = pytester.runpytest_subprocess("--cov=aioapiclient", "--cov-report=")

    result.assert_outcomes(passed=1)
    assert "previously imported" not in result.stdout.str() + result.stderr.str()


@pytest.mark.parametrize(
    ("mode", "mark", "off"),
    [
        ("auto", "", ()),
        ("auto", "", ("-p", "no:aiohttp")),
        ("strict", "@pytest.mark.asyncio", ()),
        ("strict", "@pytest.mark.asyncio", ("-p", "no:aiohttp")),
    ],
)
def test_pairs_with_plugins_for_asyncio(
    pytester: pytest.Pytester, mode: str, mark: str, off: tuple[str, ...]
) -> None:
    """The fixtures work with pytest-asyncio, auto and strict, with pytest-aiohttp and without it."""
    pytester.makeini(INI.format(mode=mode))
    pytester.makepyfile(USES.format(mark=mark))

    pytester.runpytest_inprocess(*off).assert_outcomes(passed=1)


def test_it_pairs_with_a_server_of_pytest_aiohttp(pytester: pytest.Pytester) -> None:
    """pytest-aiohttp's client calls a service under test, and the service calls the mock."""
    pytester.makeini(INI.format(mode="auto"))
    pytester.makepyfile(
        """
        from aiohttp import web

        async def test_it(mock_api, api_client, aiohttp_client):
            async def hello(request):
                return web.json_response(await api.get("/users/{id}", path_params=request.match_info))

            mock_api.get("/users/{id}").respond(json={"login": "ada"})
            api = api_client()
            app = web.Application()
            app.router.add_get("/hello/{id}", hello)
            service = await aiohttp_client(app)
            assert await (await service.get("/hello/7")).json() == {"login": "ada"}
        """
    )

    pytester.runpytest_inprocess().assert_outcomes(passed=1)


def test_it_needs_no_plugin_for_asyncio(pytester: pytest.Pytester) -> None:
    """The fixtures are plain: a test that runs its own loop can use them."""
    pytester.makeini("[pytest]\nfilterwarnings = error\n")
    pytester.makepyfile(
        """
        import asyncio

        def test_it(mock_api, api_client):
            mock_api.get("/users").respond(json=1)

            async def use():
                async with api_client() as api:
                    return await api.get("/users")

            assert asyncio.run(use()) == 1
        """
    )

    pytester.runpytest_inprocess("-p", "no:aiohttp", "-p", "no:asyncio").assert_outcomes(passed=1)


def test_it_can_be_turned_off(pytester: pytest.Pytester) -> None:
    """``-p no:aioapiclient`` leaves no fixture, option or marker."""
    pytester.makeini(INI.format(mode="auto"))
    pytester.makepyfile("def test_it(mock_api): pass")

    off = pytester.runpytest_inprocess("-p", "no:aioapiclient")
    off.assert_outcomes(errors=1)
    off.stdout.fnmatch_lines(["*fixture 'mock_api' not found"])
    assert "--record" not in pytester.runpytest_inprocess("-p", "no:aioapiclient", "--help").stdout.str()
    assert "--record" in pytester.runpytest_inprocess("--help").stdout.str()


def test_assertions_are_rewritten(pytester: pytest.Pytester) -> None:
    """Loaded early, and imported by a conftest, it gives no warning, and asserts are explained."""
    pytester.makeini(INI.format(mode="auto"))
    pytester.makeconftest("from pytest_aioapiclient import Cassette, MockAPI\nMockAPI()")
    pytester.makepyfile(
        """
        def test_it(mock_api):
            numbers = [1, 2]
            assert sum(numbers) == len(mock_api.calls)
        """
    )

    result = pytester.runpytest_subprocess("-p", "aioapiclient", "-W", "error")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E       assert 3 == 0", "E        +  where 3 = sum(?1, 2?)"])


def test_the_door_opens_lazily() -> None:
    """Each name of the package is available, and no other."""
    for name in pytest_aioapiclient.__all__:
        assert getattr(pytest_aioapiclient, name) is not None
    assert sorted(pytest_aioapiclient._HOMES) == sorted(pytest_aioapiclient.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'Mock'"):
        importlib.import_module("pytest_aioapiclient").Mock  # noqa: B018 - it raises
