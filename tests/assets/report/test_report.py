"""The page shows names as they are, writes figures as people do, and needs nothing from elsewhere."""

import re

import pytest

from assets.figures.sections import Picture, Section, tell_interval
from assets.report.cells import rounded, tabulate
from assets.report.findings import Finding, tell_routing
from assets.report.panels import Panel
from assets.report.report import render


def body(html: str) -> str:
    """The page without its own styles and scripts."""
    return re.sub(r"<(style|script)>.*?</\1>", "", html, flags=re.DOTALL)


def test_names_are_escaped() -> None:
    html = body(
        render(
            "2 models & more",
            [
                Section(
                    title="<Title>",
                    says="a < b",
                    tables=[[{"model": '<script>alert("x")</script>', "accuracy": 0.12345, "n": 3, "low": None}]],
                    sql="SELECT * FROM m WHERE a < 1",
                )
            ],
            origin={"Home": "/<home>"},
            findings=[Finding("<b> is best", "<Title>")],
            panels=[Panel("<i>", "x & y", [tabulate([{"other": "<u>"}])])],
        )
    )
    assert "<script>" not in html
    assert "&lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt;" in html
    assert "&lt;Title&gt;" in html
    assert "2 models &amp; more" in html
    assert "WHERE a &lt; 1" in html
    assert not re.search(r"<(b|i|u|home)>", html)


def test_numbers_gaps_and_our_row() -> None:
    rows = [
        {"method": "model_mean", "accuracy": 0.12345, "cost": 0.0000412, "reason": None},
        {"method": "knn", "accuracy": None, "cost": 0.0, "reason": None},
    ]
    html = render("", [Section(title="t", says="", tables=[rows, []], ours="model_mean")])
    head, cell = '<th scope="row">', '<td class="number">'
    assert f'<tr class="ours">{head}model mean</th>{cell}0.123</td>{cell}0.0000412</td></tr>' in html
    assert f"<tr>{head}knn</th>{cell}–</td>{cell}0.000</td></tr>" in html
    assert '<th scope="col" class="number">accuracy</th>' in html
    assert "<caption>By method</caption>" in html
    assert "reason" not in body(html)  # a column without any value is left out
    assert html.count("<table>") == 1  # and so is a table without rows


@pytest.mark.parametrize(
    ("values", "written"),
    [
        ([112.0, 80.0], ["112", "80"]),  # a mean that is whole everywhere
        ([112.0, 80.5], ["112.0", "80.5"]),
        ([1.0, 0.0], ["1.000", "0.000"]),  # shares
        ([1234, None], ["1,234", "–"]),
        ([274.4321, 68.6], ["274.4", "68.6"]),
        ([True, False], ["True", "False"]),
        ([["a", "b"], None], ["a, b", "–"]),
    ],
)
def test_the_values_of_a_column_are_written_alike(values: list[object], written: list[str]) -> None:
    table = tabulate([{"x": value} for value in values])
    assert [row[0].text for row in table.rows] == written


def test_no_number_has_an_exponent() -> None:
    assert [rounded(number) for number in (0.00023849, -0.0000426, 1e-9, -1e-9, 0.5)] == [
        "0.000238",
        "-0.0000426",
        "<0.000001",
        ">-0.000001",
        "0.500",
    ]


def test_an_interval_that_reads_as_one_number_is_not_told() -> None:
    assert tell_interval(0.5, 0.6) == " (95% interval 50.0% to 60.0%)"
    assert tell_interval(0.5381, 0.5384, ".0%") == tell_interval(None, None) == ""


def test_the_router_is_compared_with_the_lookup_table_too() -> None:
    share = {"router": 0.903, "best_per_benchmark": 0.917, "best_single": 0.558}
    rows = {
        name: {"accuracy": one, "ci_low": one - 0.04, "ci_high": one + 0.04, "n": 206} for name, one in share.items()
    }
    assert tell_routing(rows) == (
        "Choosing a model for each question gives 90.3% right answers (95% interval 86.3% to 94.3%), 1.4 points less "
        "than looking up the best model of the question's benchmark (91.7%; no clear difference on 206 questions), and "
        "+34.5 points next to the single best model (55.8%)."
    )


def test_the_contents_and_the_findings_lead_to_the_sections() -> None:
    sections = [Section(title="first", says=""), Section(title="second", says="")]
    html = render("", sections, findings=[Finding("found", "second"), Finding("more", "elsewhere")])
    assert '<a href="#s2">second</a>' in html
    assert '<h2 id="s2">second</h2>' in html
    assert '<li>found <a href="#s2" aria-label="More: second">More</a></li>\n<li>more</li>' in html


def test_a_model_leads_to_its_panel() -> None:
    html = render(
        "",
        [
            Section(
                title="t", says="", tables=[[{"model": "org/oak", "family": "oak"}, {"model": "gone", "family": "x"}]]
            )
        ],
        panels=[Panel("elm", "tree", []), Panel("org/oak", "tree", [tabulate([{"other": "elm"}], caption="Like it")])],
    )
    assert '<th scope="row"><a href="#model-2">org/oak</a></th><td>oak</td>' in html
    assert '<th scope="row">gone</th>' in html
    assert '<details class="model" id="model-2"><summary>org/oak <span>tree</span></summary>' in html
    assert '<th scope="row"><a href="#model-1">elm</a></th>' in html


def test_pictures_say_what_they_show() -> None:
    pictures = [Picture("data:image/png;base64,AA==", "bars of 'accuracy'"), Picture("", "dots", "<svg/>")]
    html = render("", [Section(title="t", says="", pictures=pictures)])
    assert '<img src="data:image/png;base64,AA==" alt="bars of &#39;accuracy&#39;">' in html
    assert '<div class="drawn" role="img" aria-label="dots"><svg/></div>' in html
