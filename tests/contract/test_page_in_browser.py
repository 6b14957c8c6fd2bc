"""The report page in a browser: it asks for nothing, says nothing, and does what its controls promise."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

from kshot.reporting import figures, page, tables
from kshot.reporting.aggregate import aggregate
from tests import synthetic

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), "")
REQUIRED = os.environ.get("KSHOT_BROWSER") == "required"

pytestmark = [
    pytest.mark.contract,
    pytest.mark.skipif(not CHROMIUM and not REQUIRED, reason="no Chromium here: apt install chromium, or Chrome"),
]

BANDIT = replace(synthetic.BANDIT, n_tasks=6)
CLASSES = replace(synthetic.ML10, name="classes", n_tasks=10, k=(0, 1, 10), classes=("door-close-v3", "lever-pull-v3"))
LEARNERS = ("maml", "rl2", "reptile", "pearl", "mandril")
SUITE = {"name": "made-up", "description": "Made-up <outcomes>."}
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page with everything: two families, learners from rewards and from demonstrations, a run that is missing."""
    root = tmp_path_factory.mktemp("suite")
    runs = synthetic.runs_of([BANDIT, CLASSES], LEARNERS, seeds=5)
    synthetic.write_suite([BANDIT, CLASSES], runs[1:], root)
    aggregate(runs, root, partial=True)
    out = root / "reports"
    figures.render_all(runs, root, out / "figures", ("svg",))
    tables.write_tables(runs, root, out / "tables")
    return page.write_page(SUITE, runs, root, out, partial=True).resolve().as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as started:
        found = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def shown(browser: Browser, address: str) -> Iterator[Page]:
    """The page in a window of a desktop, and a check of what it said and asked for."""
    with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        opened, said, asked = context.new_page(), list[str](), list[str]()
        opened.on("console", lambda message: said.append(message.text))
        opened.on("pageerror", lambda error: said.append(str(error)))
        opened.on("request", lambda request: asked.append(request.url))
        opened.goto(address)
        yield opened
        assert said == []
        assert [url for url in asked if not url.startswith("data:") and url.split("#")[0] != address] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [{"width": 1280, "height": 900}, PHONE], ids=["desktop", "phone"])
def test_nothing_bars_a_reader(browser: Browser, address: str, scheme: str, size: dict[str, int]) -> None:
    """No violation of the accessibility rules of axe: as the page opens, and in all tabs, which are shown at once."""
    with browser.new_context(viewport=size, color_scheme=scheme) as context:  # type: ignore[arg-type]
        opened = context.new_page()
        opened.goto(address)
        for show in ("", "document.querySelectorAll('[role=tabpanel]').forEach((panel) => { panel.hidden = false; })"):
            opened.evaluate(show)
            found = Axe().run(opened).response["violations"]
            told = [(one["id"], one["nodes"][0]["html"], one["nodes"][0]["failureSummary"]) for one in found]
            assert told == [], show


def test_a_phone_cuts_off_nothing(browser: Browser, address: str) -> None:
    with browser.new_context(viewport=PHONE) as context:  # type: ignore[arg-type]
        opened = context.new_page()
        opened.goto(address)
        assert opened.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
        opened.evaluate("document.querySelectorAll('[role=tabpanel]').forEach((panel) => { panel.hidden = false; })")
        opened.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        assert opened.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
        outside = opened.evaluate(
            """() => [...document.querySelectorAll("td, th, b, small, p, h1, h2, h3, h4, dd, li, button, label")]
                .filter((one) => !one.closest("thead, nav, pre, svg"))
                .filter((one) => {
                    const box = one.getBoundingClientRect();
                    const inside = getComputedStyle(one).display === "inline" || one.scrollWidth <= one.clientWidth + 1;
                    return box.width > 0 && (box.right > 390.5 || box.left < -0.5 || !inside);
                })
                .map((one) => one.outerHTML.slice(0, 120))"""
        )
        assert outside == []


def test_without_scripts_everything_is_there(browser: Browser, address: str) -> None:
    with browser.new_context(java_script_enabled=False) as context:
        opened = context.new_page()
        opened.goto(address)
        panels = opened.locator("section.tab")
        assert panels.count() > 10
        for i in range(panels.count()):
            expect(panels.nth(i)).to_be_visible()
        expect(opened.locator(".filters")).to_be_hidden()
        expect(opened.get_by_role("tab")).to_have_count(0)  # controls that would do nothing
        assert opened.locator("svg use title").first.text_content()


def test_tabs_show_one_panel_at_a_time(shown: Page) -> None:
    card = shown.locator("#classes")
    expect(card.locator("section.tab:visible")).to_have_count(1)
    card.get_by_role("tab", name="K-curves").click()
    expect(card.locator("#tab--classes--curves")).to_be_visible()
    expect(card.locator("section.tab:visible")).to_have_count(1)
    shown.keyboard.press("ArrowRight")
    expect(card.locator("#tab--classes--success")).to_be_visible()
    expect(card.get_by_role("tab", name="Success")).to_be_focused()


def test_a_link_opens_the_tab_that_its_target_stands_in(shown: Page, address: str) -> None:
    target = shown.locator("#classes--after_k-table")
    expect(target).to_be_hidden()
    shown.goto(f"{address}#classes--after_k-table")
    expect(target).to_be_visible()
    expect(target).to_be_in_viewport()
    for link in shown.locator("a.here").all():
        name = str(link.get_attribute("href"))[1:]
        assert shown.locator(f'[id="{name}"]').count() == 1, name


def column(shown: Page, table: str, index: int) -> list[str]:
    """What stands in a column of a table, from top to bottom."""
    return [
        str(cell.get_attribute("data-text")) for cell in shown.locator(f"{table} tbody tr > :nth-child({index})").all()
    ]


def test_a_click_on_a_column_sorts_by_it(shown: Page) -> None:
    table = "#classes--headline-table table"
    before = column(shown, table, 3)
    head = shown.locator(f"{table} thead th:nth-child(3)")
    head.click()
    values = [float(text.split()[0]) for text in column(shown, table, 3) if text]
    assert values == sorted(values, reverse=True) and sorted(column(shown, table, 3)) == sorted(before)
    expect(head).to_have_attribute("aria-sort", "descending")
    head.press("Enter")
    values = [float(text.split()[0]) for text in column(shown, table, 3) if text]
    assert values == sorted(values)
    shown.locator(f"{table} thead th:nth-child(1)").click()
    names = column(shown, table, 1)
    assert names == sorted(names)


def test_a_learner_can_be_taken_out_of_tables_and_figures(shown: Page) -> None:
    row = shown.locator("#classes--headline-table tr[data-policy=maml]")
    lines = shown.locator('#classes--headline svg [data-policy="maml"]')
    expect(row).to_be_visible()
    assert lines.count() > 2
    shown.locator(".filters summary").click()
    shown.get_by_label("maml", exact=True).uncheck()
    expect(row).to_be_hidden()
    expect(lines.first).to_be_hidden()
    expect(shown.locator("#classes--headline-table tr[data-policy=rl2]")).to_be_visible()
    shown.get_by_label("maml", exact=True).check()
    expect(row).to_be_visible()


def test_a_family_and_the_other_actions_can_be_taken_out(shown: Page) -> None:
    shown.locator(".filters summary").click()
    shown.get_by_role("checkbox", name="bandit", exact=True).uncheck()
    expect(shown.locator("#bandit")).to_be_hidden()
    expect(shown.locator(".verdicts li", has=shown.locator('a[href="#bandit"]'))).to_be_hidden()
    expect(shown.locator("#classes")).to_be_visible()
    shown.locator("#classes").get_by_role("tab", name="K-curves").click()
    thin = shown.locator("#tab--classes--curves svg [data-other]").first
    expect(thin).to_be_visible()
    shown.locator("#other-actions").uncheck()
    expect(thin).to_be_hidden()


def test_one_choice_of_k_answers_everywhere(shown: Page) -> None:
    """Sentences, matrices and what is copied of them are those after one episode, and say so."""
    cell = shown.locator("#answer-rewards tr[data-policy=maml] td:nth-child(3)")
    said = cell.locator("[data-k='']").get_attribute("data-text")
    assert cell.locator("[data-k='10']").get_attribute("data-text") == said
    shown.locator("#classes .choose-k").select_option("1")
    assert {choice.input_value() for choice in shown.locator(".choose-k").all()} == {"1"}
    expect(cell.locator("[data-k='1']")).to_be_visible()
    expect(cell.locator("[data-k='']")).to_be_hidden()
    held = cell.locator("[data-k='1']").get_attribute("data-text")
    assert held is not None and held != said and "\u2020" in held  # maml adapts on blocks of ten
    for sentence in (shown.locator(".verdicts li", has_text="classes").first, shown.locator("#classes .verdict")):
        expect(sentence).to_contain_text(re.compile("at K\xa0=\xa01, ", re.I))
        expect(sentence).not_to_contain_text("K\xa0=\xa010", use_inner_text=True)
    # The cards turn to the tab that has every K: the first one shows another K, and says which.
    shown.locator(".verdicts li[data-family=classes] .copy-sentence").first.click()
    sentence = shown.evaluate("navigator.clipboard.readText()")
    assert sentence.startswith("made-up, classes: at K = 1, success at the last step, ")
    assert "Not adapted yet: maml " in sentence and "\u2020" not in sentence
    words = "Beyond chance: the 95 % interval of the difference, over the test tasks, is above 0."
    assert " beyond chance. " in sentence and sentence.endswith(f" {words}\n")
    tabs = shown.locator("#classes").get_by_role("tab")
    expect(tabs.first).to_have_text("Headline, K\xa0=\xa010")
    expect(shown.locator("#classes").get_by_role("tab", name="K-curves")).to_have_attribute("aria-selected", "true")
    assert shown.locator("#classes td.chosen").count() == shown.locator("#classes--after_k-table tbody tr").count()
    shown.locator("#answer-rewards").get_by_role("button", name="LaTeX").click()
    copied = shown.evaluate("navigator.clipboard.readText()")
    assert "{\\footnotesize made-up: Learners by families; " in copied and "classes, $K = 1$" in copied
    assert "$^\\dagger$" in copied
    assert "success at the last step, $K = 1$. " in copied and "$^\\dagger$: not adapted yet, the score" in copied
    shown.locator("#answer .choose-k").first.select_option("")
    expect(cell.locator("[data-k='']")).to_be_visible()
    expect(tabs.first).to_have_attribute("aria-selected", "true")
    assert shown.locator("td.chosen").count() == 0


def test_a_point_says_its_numbers(shown: Page) -> None:
    shown.locator("#classes").get_by_role("tab", name="K-curves").click()
    # The last that is drawn lies under no other.
    point = shown.locator("#classes--success_after_k svg [data-policy] use:has(title)").last
    point.scroll_into_view_if_needed()
    box = point.bounding_box()
    assert box is not None
    shown.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tip = shown.locator("#tip")
    expect(tip).to_be_visible()
    expect(tip).to_have_text(str(point.locator("title").text_content()))
    assert re.match(r"[a-z0-9]+, K = 10: 0\.\d\d \[0\.\d\d, \d\.\d\d\], 5 runs, ", str(tip.text_content()))
    shown.mouse.move(2, 2)
    expect(tip).to_be_hidden()


def test_a_table_is_copied_as_it_is_written_to_files(shown: Page, address: str) -> None:
    figure = shown.locator("#classes--after_k-table")
    shown.goto(f"{address}#classes--after_k-table")
    written = Path(address.removeprefix("file://")).parent / "tables" / "after_k.md"
    part = written.read_text().partition("## classes\n\n")[2].partition("\n\n")[0]

    def copied(name: str) -> str:
        figure.get_by_role("button", name=name).click()
        text: str = shown.evaluate("navigator.clipboard.readText()")
        return text

    assert copied("Markdown").startswith(f"{part}\n\nmade-up: Score after K: success at the last step, classes. ")
    rows = copied("CSV").splitlines()
    assert rows[0].startswith("policy,K = 0,K = 1,K = 10") and len(rows) == len(part.splitlines()) - 1
    latex = copied("LaTeX")
    assert latex.startswith("\\begin{tabular}{lrrrrr}\n\\toprule\npolicy & $K = 0$")
    assert latex.count("\\\\\n") == len(rows)
    below = latex.partition("\\end{tabular}\n\n")[2]
    assert below.startswith(
        "\\smallskip\\noindent{\\footnotesize made-up: Score after K: success at the last step, classes. "
    )


def test_the_answer_and_the_curves_print_on_two_pages(browser: Browser, address: str, tmp_path: Path) -> None:
    with browser.new_context() as context:
        opened = context.new_page()
        opened.goto(address)
        data = opened.pdf(path=tmp_path / "page.pdf", format="A4")
        assert len(re.findall(rb"/Type ?/Page\b(?!s)", data)) == 2
        opened.emulate_media(media="print")
        expect(opened.locator(".verdicts")).to_be_visible()
        expect(opened.locator("#classes--success_after_k svg")).to_be_visible()
        expect(opened.locator("#classes--headline-table")).to_be_hidden()
        expect(opened.locator("#provenance")).to_be_hidden()


def test_families_can_be_chosen_by_the_split_of_their_tasks(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is more than one; a family that was taken out stays out."""
    for package in (figures, tables):
        monkeypatch.setattr(package, "__path__", [])  # drawing them takes a while
    runs = synthetic.runs_of([BANDIT, CLASSES], ("maml", "rl2"), seeds=3)
    split = {"bandit": "test", "classes": "validation"}
    runs = [replace(r, evaluation=r.evaluation.model_copy(update={"split": split[r.family]})) for r in runs]
    synthetic.write_suite([BANDIT, CLASSES], runs, tmp_path)
    aggregate(runs, tmp_path)
    opened = browser.new_page()
    opened.goto(page.write_page(SUITE, runs, tmp_path, tmp_path / "report").resolve().as_uri())
    expect(opened.locator(".notice.warn")).to_contain_text("Evaluated on validation tasks (classes): these numbers")
    opened.locator(".filters summary").click()
    bandit, classes = (opened.locator(f"#{name}") for name in ("bandit", "classes"))
    chosen = opened.get_by_role("group", name="Tasks")
    chosen.get_by_label("validation tasks").uncheck()
    expect(bandit).to_be_visible()
    expect(classes).to_be_hidden()
    expect(opened.locator(".verdicts li", has=opened.locator('a[href="#classes"]'))).to_be_hidden()
    opened.get_by_role("checkbox", name="classes").uncheck()
    chosen.get_by_label("validation tasks").check()
    expect(classes).to_be_hidden()
    opened.get_by_role("checkbox", name="classes").check()
    expect(classes).to_be_visible()
    opened.close()


def test_a_suite_of_one_split_offers_no_choice_of_it(shown: Page) -> None:
    shown.locator(".filters summary").click()
    expect(shown.get_by_role("group", name="Families")).to_be_visible()
    expect(shown.get_by_role("group", name="Tasks")).to_have_count(0)
