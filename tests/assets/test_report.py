"""The page shows names as they are, and needs nothing from elsewhere."""

from assets.report import Picture, Section, render


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
    rows = [{"method": "mf", "accuracy": 0.12345}, {"method": "knn", "accuracy": None}]
    html = render("", [Section(title="t", says="", tables=[rows, []], ours="mf")])
    assert '<tr class="ours"><td>mf</td><td class="number">0.123</td></tr>' in html
    assert "<td>–</td>" in html
    assert html.count("<table>") == 1  # a table without rows is left out


def test_pictures_say_what_they_show() -> None:
    picture = Picture("data:image/png;base64,AA==", "bars of 'accuracy'")
    html = render("", [Section(title="t", says="", pictures=[picture])])
    assert '<img src="data:image/png;base64,AA==" alt="bars of &#39;accuracy&#39;">' in html
