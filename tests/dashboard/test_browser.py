"""The page in a browser: what is drawn, what it does, what it never does."""

from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from bitvm_bridge.dashboard import pages
from bitvm_bridge.dashboard.server import DashboardServer
from tests.dashboard.browser import PROGRAMS, Page, find_browser, open_browser
from tests.dashboard.conftest import HOSTILE, NAMES, Stages, make_reader, serving
from tests.dashboard.test_pages import Switch

BROWSER = find_browser()
pytestmark = pytest.mark.skipif(BROWSER is None, reason=f"no browser on this machine (one of {', '.join(PROGRAMS)})")

Site = tuple[DashboardServer, str]
SHOWN = """
Object.fromEntries([...document.querySelectorAll('.box')].map((box) => [box.dataset.name, {
  state: box.getAttribute('class').split(' ')[1],
  text: box.querySelector('.state').textContent,
  tone: getComputedStyle(box.querySelector('.state')).fill,
  dashes: getComputedStyle(box.querySelector('.card')).strokeDasharray,
}]))
"""
WIRES = """
[...document.querySelectorAll('.wire')].map((wire) =>
  [wire.dataset.source, wire.dataset.target, wire.getAttribute('class').split(' ')[2]])
"""
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    assert BROWSER is not None
    with open_browser(BROWSER, tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def page(browser: Page) -> Iterator[Page]:
    """The browser; whatever a test does, the page asks nobody but its server, and has nothing to complain about."""
    browser.requests.clear()
    browser.complaints.clear()
    yield browser
    assert browser.complaints == []
    assert {url.split("/")[2] for url in browser.requests if url != "about:blank"} <= {browser.run("location.host")}


@pytest.fixture(scope="module")
def sites(stages: Stages) -> Iterator[dict[str, Site]]:
    """State → a server, and the instance that it shows."""
    with ExitStack() as held:
        found = {}
        for name, (bridge, instance) in stages.items():
            reader = held.enter_context(closing(make_reader(bridge)))
            found[name] = held.enter_context(serving(reader)), instance
        yield found


def document(site: Site) -> Any:
    return pages.instance(site[0].reader.snapshot(), site[1])


@pytest.mark.parametrize("name", NAMES)
def test_the_graph_is_drawn_in_its_states(page: Page, sites: dict[str, Site], name: str) -> None:
    site = sites[name]
    page.show(site[0].url)
    expected = document(site)
    drawn = page.run(SHOWN)
    assert {box: seen["state"] for box, seen in drawn.items()} == {
        box["name"]: box["state"] for box in expected["graph"]["boxes"]
    }
    assert sorted(page.run(WIRES)) == sorted(
        [wire["source"], wire["target"], wire["state"]] for wire in expected["graph"]["wires"]
    )
    tones = {seen["state"]: seen["tone"] for seen in drawn.values()}
    assert len(set(tones.values())) == len(tones), "each state has a colour of its own"
    for box in expected["graph"]["boxes"]:
        if box["state"] == "confirmed":
            assert drawn[box["name"]]["text"] == f"block {box['block']}"
        assert (drawn[box["name"]]["dashes"] != "none") == (box["state"] == "impossible")
    assert page.run("document.querySelector('.title-line .badge').textContent") == name
    rows = page.run("[...document.querySelectorAll('.row')].map((row) => row.querySelector('.link').textContent)")
    assert set(rows) >= {"Challenge", "HappyTake", "Forfeit"}


def test_a_transaction_opens_and_closes(page: Page, sites: dict[str, Site]) -> None:
    server, instance = sites["kicked-off"]
    page.show(server.url)
    assert page.run("document.getElementById('drawer').hidden")
    page.run(
        "document.querySelector('[data-name=HappyTake] .card').dispatchEvent(new MouseEvent('click', {bubbles: true}))"
    )
    page.wait_for("!document.getElementById('drawer').hidden")
    found = pages.tx(server.reader.snapshot(), instance, "HappyTake")
    assert page.run("document.querySelector('#drawer h2').textContent") == "HappyTake"
    assert page.run("document.querySelector('.raw').textContent") == found["raw"]["hex"]
    text = page.run("document.getElementById('drawer').textContent")
    for part in (found["txid"], "PegIn.vault", "KickOff.challenge", "happy", "6 blocks after it confirmed"):
        assert part in text, part
    page.run("document.querySelector('.copy button').click()")
    page.wait_for("document.querySelector('.said').textContent")
    page.press("Escape", 27)
    page.wait_for("document.getElementById('drawer').hidden")


def test_the_keyboard_is_enough(page: Page, sites: dict[str, Site]) -> None:
    page.show(sites["kicked-off"][0].url)
    visited = []
    for _ in range(40):
        page.press("Tab", 9)
        visited.append(page.run("document.activeElement.dataset.name ?? document.activeElement.dataset.key ?? ''"))
        if visited[-1] == "KickOff":
            break
    assert "graph" in visited
    assert visited[-1] == "KickOff"
    assert page.run("getComputedStyle(document.activeElement.querySelector('.card')).strokeWidth") == "2.5px"
    page.press("Enter", 13)
    page.wait_for("document.activeElement.id === 'drawer-title'")
    page.press("Escape", 27)
    page.wait_for("document.activeElement.dataset.name === 'KickOff'")


def test_an_address_leads_to_a_transaction(page: Page, sites: dict[str, Site]) -> None:
    server, instance = sites["taken"]
    page.show(f"{server.url}#/{instance}/HappyTake")
    page.wait_for("document.querySelector('#drawer h2')?.textContent === 'HappyTake'")
    assert "as it confirmed" in page.run("document.getElementById('drawer').textContent")


@pytest.mark.parametrize("place", ["#/<img src=x>", "#/../x", "#//KickOff", f"#/{'0' * 64}/KickOff", "#/%00/y"])
def test_other_addresses_lead_nowhere(page: Page, sites: dict[str, Site], place: str) -> None:
    page.show(sites["taken"][0].url + place)
    assert page.run("document.getElementById('drawer').hidden")
    assert page.run("document.querySelectorAll('.instances tbody tr').length") == 1


def test_hostile_names_are_text(page: Page, sites: dict[str, Site]) -> None:
    page.show(sites["pegged-in"][0].url)
    assert HOSTILE in page.run("document.querySelector('.setup').textContent")
    assert page.run("document.querySelectorAll('img, iframe, object, embed').length") == 0
    assert not [url for url in page.requests if url.endswith("/x")]


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1280, 400])
def test_nothing_is_wider_than_the_page(page: Page, sites: dict[str, Site], width: int, dark: bool) -> None:
    server, instance = sites["disproved"]
    for address in (server.url, f"{server.url}#/{instance}/Disprove"):
        page.show(address, width, dark=dark)
        assert page.run(OVERFLOW) == 0
    dark_paper = page.run("getComputedStyle(document.body).backgroundColor") == "rgb(21, 24, 26)"
    assert dark_paper == dark


def test_text_can_be_read(page: Page, sites: dict[str, Site]) -> None:
    """Contrast of what says something is 4.5 or more in both schemes (WCAG 2.2, 1.4.3); what is struck out may fade."""
    for dark in (False, True):
        page.show(sites["kicked-off"][0].url, dark=dark)
        found = page.run("""(() => {
          const luminance = (rgb) => rgb.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255)
            .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
            .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
          const contrast = (one, other) => {
            const [a, b] = [luminance(one), luminance(other)].sort((x, y) => y - x);
            return (a + 0.05) / (b + 0.05);
          };
          return [...document.querySelectorAll('.box:not(.impossible)')].flatMap((box) => {
            const card = getComputedStyle(box.querySelector('.card')).fill;
            return ['.name', '.state', '.who'].map((part) =>
              [box.dataset.name + part, contrast(getComputedStyle(box.querySelector(part)).fill, card)]);
          });
        })()""")
        assert len(found) > 20
        assert {name: value for name, value in found if value < 4.5} == {}


def test_the_page_follows_the_chain(page: Page, stages: Stages, tmp_path: Path) -> None:
    bridge = stages["kicked-off"][0].copy(tmp_path / "data")
    with closing(make_reader(bridge)) as reader, serving(reader) as server:
        page.show(server.url)
        height = bridge.height()
        assert page.run("document.getElementById('live').textContent") == f"live · block {height}"
        page.run("document.querySelector('[data-key=KickOff]').focus()")
        bridge.send("challenger", "challenge", stages["kicked-off"][1])
        page.wait_for(f"document.getElementById('live').textContent === 'live · block {height + 1}'")
        assert page.run(SHOWN)["Challenge"]["state"] == "confirmed"
        assert page.run("document.activeElement.dataset.key") == "KickOff", "the focus stays where it was"


def test_what_is_wrong_is_said(page: Page, stages: Stages, tmp_path: Path) -> None:
    bridge = stages["kicked-off"][0].copy(tmp_path / "data")
    switch = Switch(bridge)
    with closing(make_reader(bridge, switch)) as reader:
        with serving(reader) as server:
            page.show(server.url)
            assert page.run("document.getElementById('notice').hidden")
            switch.cut = True
            bridge.mine()
            page.wait_for("document.getElementById('notice').textContent.startsWith('The node does not answer')")
            assert page.run("document.getElementById('live').textContent") == "not live"
            assert page.run("document.querySelectorAll('.box').length") > 10, "what was seen last stays"
        page.wait_for("document.getElementById('notice').textContent.startsWith('The dashboard does not answer')")
    assert all("ERR_CONNECTION" in complaint for complaint in page.complaints)
    page.complaints.clear()


def test_no_instance_yet(page: Page, tmp_path: Path, stages: Stages) -> None:
    bridge = stages["deposited"][0].copy(tmp_path / "data")
    with bridge.store() as store:
        for instance in store.keys("instance"):
            store.delete("instance", instance)
    with closing(make_reader(bridge)) as reader, serving(reader) as server:
        page.show(server.url, 400)
        assert "No instance yet" in page.run("document.getElementById('overview').textContent")
        assert page.run("document.getElementById('instance').hidden")


def test_a_store_that_cannot_be_read_is_said(page: Page, stages: Stages, tmp_path: Path) -> None:
    bridge = stages["kicked-off"][0].copy(tmp_path / "data")
    with closing(make_reader(bridge)) as reader, serving(reader) as server:
        page.show(server.url)
        for path in (bridge.datadir / "regtest").glob("bridge.sqlite*"):
            path.write_bytes(b"this is no database" * 100)
        page.wait_for("document.getElementById('notice').textContent.startsWith('The store cannot be read: ')")
        assert page.run("document.querySelectorAll('.instances tbody tr').length") == 1, "what was seen last stays"
