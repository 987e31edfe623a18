"""The page shows names as they are, and needs nothing from elsewhere."""

from assets.figures.sections import Picture, Section
from assets.report.report import render


def test_names_are_escaped() -> None:
    html = render(
        "2 models & more",
        [
            Section(
                title="<Title>",
                says="a < b",
                tables=[[{"model": '<script>alert("x")</script>', "accuracy": 0.12345, "n": 3, "low": None}]],
                sql="SELECT * FROM m WHERE a < 1",
            )
        ],
    )
    assert "<script>" not in html
    assert "&lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt;" in html
    assert "&lt;Title&gt;" in html
    assert "2 models &amp; more" in html
    assert "WHERE a &lt; 1" in html


def test_numbers_gaps_and_our_row() -> None:
    rows = [
        {"method": "mf", "accuracy": 0.12345, "cost": 0.0000412, "reason": None},
        {"method": "knn", "accuracy": None, "cost": 0.0, "reason": None},
    ]
    html = render("", [Section(title="t", says="", tables=[rows, []], ours="mf")])
    cell = '<td class="number">'
    assert f'<tr class="ours"><td>mf</td>{cell}0.123</td>{cell}4.12e-05</td></tr>' in html
    assert f"<tr><td>knn</td>{cell}–</td>{cell}0.000</td></tr>" in html
    assert "reason" not in html  # a column without any value is left out
    assert html.count("<table>") == 1  # and so is a table without rows


def test_the_contents_lead_to_the_sections() -> None:
    html = render("", [Section(title="first", says=""), Section(title="second", says="")])
    assert '<a href="#s2">second</a>' in html
    assert '<h2 id="s2">second</h2>' in html


def test_pictures_say_what_they_show() -> None:
    picture = Picture("data:image/png;base64,AA==", "bars of 'accuracy'")
    html = render("", [Section(title="t", says="", pictures=[picture])])
    assert '<img src="data:image/png;base64,AA==" alt="bars of &#39;accuracy&#39;">' in html
