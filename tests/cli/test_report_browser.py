"""The report in a browser: every control is used, at the widths of a phone and of a desktop."""

from __future__ import annotations

import base64
import json
import shutil
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (BROWSER and DRIVER), reason="chromium and chromium-driver are not installed"
    ),
]


@pytest.fixture(scope="module")
def page(trained_once, aclnet, tmp_path_factory) -> Path:
    """A report of two runs, which has every section of actions."""
    folder = tmp_path_factory.mktemp("browser")
    runs = [folder / "first", folder / "second"]
    for run in runs:
        shutil.copytree(trained_once[0], run)
    drops = [f"--drop=joints-v1/frame-{share}" for share in (0.1, 0.5)]
    assert aclnet("occlusion-bench", *runs, *drops, "--clips", 1).code == 0
    out = folder / "report.html"
    assert aclnet("report", *runs, "--out", out).code == 0
    return out


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    selenium = pytest.importorskip("selenium.webdriver")
    options = selenium.ChromeOptions()
    options.binary_location = BROWSER
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = selenium.Chrome(options, selenium.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(params=[(390, 844, "dark"), (1400, 900, "light")], ids=["phone", "desktop"])
def opened(request, browser, page):
    """The page at the width of a device; no error may be on the console at the end."""
    width, height, theme = request.param
    device = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", device)
    feature = {"name": "prefers-color-scheme", "value": theme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    browser.get(page.as_uri())
    yield browser
    assert browser.get_log("browser") == []


def find(driver, selector):
    """The elements that are shown."""
    found = driver.find_elements("css selector", selector)
    return [element for element in found if element.is_displayed()]


def press(driver, element):
    """Clicks an element in the middle of the screen, where no sticky bar lies above it."""
    driver.execute_script(
        "arguments[0].scrollIntoView({block: 'center', inline: 'center'})", element
    )
    element.click()


def check_width(driver):
    """Nothing is wider than the screen, except inside an element that scrolls."""
    wide = driver.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert wide[0] <= wide[1]


def test_every_control_works_once(opened):
    check_width(opened)
    assert "first and second" in opened.title
    boxes = find(opened, "[data-chart]")
    assert {box.get_attribute("data-chart") for box in boxes} == {
        *("comparedCurves", "comparedOcclusion", "curves", "confusion", "families", "occlusion"),
        *("embedding", "skeletons"),
    }
    for box in boxes:
        assert box.find_elements("css selector", "svg"), box.get_attribute("data-chart")
    for link in find(opened, "nav a"):
        press(opened, link)
        name = link.get_attribute("href").rpartition("#")[2]
        assert opened.find_element("id", name).is_displayed()
    for details in find(opened, "summary"):
        press(opened, details)
    for number, button in enumerate(find(opened, "button.sort")):
        press(opened, button)
        head = button.find_element("xpath", "..")
        assert head.get_attribute("aria-sort") == "ascending", number
    for button in find(opened, ".controls button:not(.looks *)"):
        press(opened, button)
    for box in find(opened, "input[type=checkbox]"):
        press(opened, box)
    for choice in find(opened, "select:not(.looks *)"):
        for option in choice.find_elements("css selector", "option"):
            option.click()
    check_width(opened)
    run = find(opened, ".tabs button")[1]
    press(opened, run)
    assert run.get_attribute("aria-pressed") == "true"
    assert [a.get_attribute("data-run") for a in find(opened, "article")] == ["1"]
    assert find(opened, "article [data-chart=confusion] svg"), "drawn once it is shown"
    check_width(opened)


def test_the_slider_changes_graph_and_matrix(opened):
    (chart,) = find(opened, "[data-chart=families]")
    (slider,) = chart.find_elements("css selector", "input[type=range]")

    def drawn():
        svgs = chart.find_elements("css selector", "svg")
        return [len(one.find_elements("css selector", "path, rect")) for one in svgs]

    end = drawn()
    slider.send_keys("\ue011")  # Home
    assert chart.find_element("css selector", "output").text == "epoch 1"
    slider.send_keys("\ue010")  # End
    assert chart.find_element("css selector", "output").text == "epoch 2"
    assert drawn() == end


def test_the_families_of_many_epochs_are_drawn(opened, page, tmp_path):
    """More pairs than a browser takes as arguments of one call."""
    before, start, rest = page.read_text(encoding="utf-8").partition('id="data">')
    text, end, after = rest.partition("</script>")
    data = json.loads(text)
    pairs = [[0, 1, 0.001]] * 4000  # too weak for a line
    data["runs"][0]["families"] |= {"epochs": [*range(1, 41)], "affinity": [pairs] * 40}
    (tmp_path / "many.html").write_text(before + start + json.dumps(data) + end + after)
    opened.get((tmp_path / "many.html").as_uri())
    (chart,) = find(opened, "[data-chart=families]")
    assert len(chart.find_elements("css selector", "svg")) == 2


def test_a_cell_lists_its_sequences_by_keyboard(opened):
    (matrix,) = find(opened, "[data-chart=confusion] [role=application]")
    data = opened.execute_script("return JSON.parse(document.getElementById('data').textContent)")
    run = data["runs"][0]
    occurs = {c for t, p, _ in run["confusion"]["cells"] for c in (t, p)}
    order = [c for c in run["labels"]["order"] if c in occurs]
    true, predicted, count = next(cell for cell in run["confusion"]["cells"] if cell[0] != cell[1])
    keys = "\ue015" * order.index(true) + "\ue014" * order.index(predicted) + "\ue007"
    matrix.send_keys(keys)  # arrows down and right, then Enter
    (chart,) = find(opened, "[data-chart=confusion]")
    listed = [code.text for code in chart.find_elements("css selector", "li code")]
    expected = [s[0] for s in run["confusion"]["samples"] if s[1:3] == [true, predicted]]
    assert len(listed) == count
    assert listed == expected


def colours(driver, canvas):
    """Number of pixels that are drawn on."""
    return driver.execute_script(
        "const pixels = arguments[0].getContext('2d').getImageData(0, 0, arguments[0].width,"
        "arguments[0].height).data; return pixels.filter((v, i) => i % 4 === 3 && v).length",
        canvas,
    )


def until(driver, holds):
    """Waits for something that the page draws in its next frame."""
    wait = pytest.importorskip("selenium.webdriver.support.ui").WebDriverWait(driver, 60)
    wait.until(lambda _: holds())


def place(viewer):
    return viewer.find_element("css selector", ".place").text


def test_a_cell_shows_moving_skeletons_and_the_keys_turn_them(opened):
    (matrix,) = find(opened, "[data-chart=confusion] [role=application]")
    data = opened.execute_script("return JSON.parse(document.getElementById('data').textContent)")
    run = data["runs"][0]
    example = run["skeletons"]["examples"][0]
    occurs = {c for t, p, _ in run["confusion"]["cells"] for c in (t, p)}
    order = [c for c in run["labels"]["order"] if c in occurs]
    true, predicted = example["true"], example["predicted"]
    keys = "\ue015" * order.index(true) + "\ue014" * order.index(predicted) + "\ue007"
    matrix.send_keys(keys)
    (chart,) = find(opened, "[data-chart=confusion]")
    (viewer,) = chart.find_elements("css selector", ".looks .skeleton-view")
    names = run["labels"]["names"]
    told = [one.text.splitlines()[0] for one in viewer.find_elements("css selector", "figcaption")]
    assert told[0] == f"{names[true]}, taken for {names[predicted]}"
    assert told[1:] in ([], [f"{names[predicted]}, recognised"])
    canvases = viewer.find_elements("css selector", "canvas")
    until(opened, lambda: all(colours(opened, canvas) > 300 for canvas in canvases))
    play = viewer.find_element("css selector", ".play")
    assert play.text == "Pause", "it plays, as it was asked for"
    press(opened, play)
    canvases[0].send_keys("\ue011")  # Home
    first = place(viewer)
    canvases[0].send_keys("\ue014")  # arrow right: the next frame
    assert place(viewer) != first
    before = canvases[0].screenshot_as_png
    canvases[0].send_keys("\ue008\ue014")  # Shift and arrow right: turn
    assert canvases[0].screenshot_as_png != before
    check_width(opened)


def test_the_hardest_pairs_and_the_errors_open_their_skeletons(opened):
    show = find(opened, "article .pairs button.look")[0]
    press(opened, show)
    (viewer,) = find(opened, "[id$=classes] .looks .skeleton-view")
    assert viewer.find_elements("css selector", "canvas")
    for control in viewer.find_elements("css selector", ".controls button"):
        press(opened, control)
    for speed in viewer.find_elements("css selector", "select option"):
        speed.click()
    (section,) = find(opened, "[data-chart=skeletons]")
    cards = section.find_elements("css selector", ".strips button")
    data = opened.execute_script("return JSON.parse(document.getElementById('data').textContent)")
    examples = data["runs"][0]["skeletons"]["examples"]
    assert len(cards) == len(examples)
    assert all(card.find_elements("css selector", "svg path") for card in cards)
    press(opened, cards[-1])
    code = section.find_element("css selector", ".looks code")
    assert code.text == examples[-1]["id"]
    press(opened, section.find_element("css selector", ".looks .next"))
    code = section.find_element("css selector", ".looks code")
    assert code.text == examples[0]["id"]
    assert opened.switch_to.active_element.text == "next"
    pair = section.find_elements("css selector", "select option")[1]
    pair.click()
    shown = len(section.find_elements("css selector", ".strips button"))
    first = {examples[0]["true"], examples[0]["predicted"]}
    assert shown == sum({one["true"], one["predicted"]} == first for one in examples)
    check_width(opened)


def test_nothing_moves_by_itself_with_reduced_motion(opened):
    feature = {"name": "prefers-reduced-motion", "value": "reduce"}
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    press(opened, find(opened, "article .pairs button.look")[0])
    (viewer,) = find(opened, "[id$=classes] .looks .skeleton-view")
    play = viewer.find_element("css selector", ".play")
    assert play.text == "Play"
    assert place(viewer).startswith("frame 0 of")
    press(opened, play)
    assert play.text == "Pause", "who asks for it sees it move"


def test_skeletons_are_printed_as_strips_of_poses(opened):
    opened.execute_script("window.dispatchEvent(new Event('beforeprint'))")
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    (viewer,) = find(opened, "[data-run='0'] [data-chart=skeletons] .looks .skeleton-view")
    strips = viewer.find_elements("css selector", ".strip svg")
    assert strips
    for strip in strips:
        assert strip.is_displayed()
        assert len(strip.find_elements("css selector", "text")) == 6
    assert not any(c.is_displayed() for c in viewer.find_elements("css selector", "canvas, button"))
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "screen"})


def test_the_theme_changes_the_colours(opened):
    def background():
        return opened.execute_script("return getComputedStyle(document.body).backgroundColor")

    theme = opened.find_element("id", "theme")
    seen = {}
    for option in theme.find_elements("css selector", "option"):
        option.click()
        seen[option.get_attribute("value")] = background()
    assert seen["light"] != seen["dark"]
    assert seen[""] in (seen["light"], seen["dark"])


def test_printing_unfolds_the_page_and_then_shows_the_same_run(opened):
    charts = "article[data-run='1'] [data-chart] svg"
    assert opened.find_elements("css selector", charts), "all runs are printed"
    assert base64.b64decode(opened.print_page()).startswith(b"%PDF")
    details = opened.find_elements("css selector", "details")
    assert all(one.get_attribute("open") for one in details)
    assert [a.get_attribute("data-run") for a in find(opened, "article")] == ["0"]
