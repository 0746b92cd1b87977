"""The inbox shows the mail to people, and the mail can do nothing to the inbox."""

from __future__ import annotations

import re

import pytest

from tests.devstack.standin import StandIn, mail, standing_in

EVIL = "</title></pre><script>alert(1)</script><img src=x onerror=alert(1)>'\"&"


async def _page(stand_in: StandIn, path: str) -> str:
    response = await stand_in.control.http.get(path)
    assert response.status_code == 200
    return response.text


async def test_the_root_leads_to_the_inbox() -> None:
    """Who opens the stand-in's URL in a browser sees the mail."""
    async with standing_in() as stand_in:
        response = await stand_in.control.http.get("/")
        assert response.headers["location"] == "/inbox"
        assert "No mail yet" in await _page(stand_in, "/inbox")


async def test_the_newest_mail_is_on_top() -> None:
    """Recipient, subject, instant, tags and the reminder's id are on the list."""
    tags = [{"name": "reminder_id", "value": "4fb7e21c-aa"}, {"name": "kind", "value": "24h"}]
    async with standing_in() as stand_in:
        await stand_in.send(mail(subject="First"))
        stand_in.pass_time(minutes=2)
        await stand_in.send(mail("Ana <ana@b.dev>", subject="Second", tags=tags))
        page = await _page(stand_in, "/inbox")
        assert page.index("Second") < page.index("First")
        for text in ("Ana &lt;ana@b.dev&gt;", "4fb7e21c", "24h", "01 Dec 00:02:00", "2 min ago"):
            assert text in page


async def test_the_list_is_searched_by_recipient_and_subject() -> None:
    """Any case, anywhere in the text, with `%` and `_` meaning themselves."""
    async with standing_in() as stand_in:
        await stand_in.send(mail("ana_1@b.dev", subject="100% Cardiology"))
        await stand_in.send(mail("anax1@b.dev", subject="Dermatology"))
        for words, found in (("cardio", 1), ("ANA", 2), ("ana_1", 1), ("100%", 1), ("%", 1)):
            page = await _page(stand_in, "/inbox?q=" + words.replace("%", "%25"))
            assert f"{found} matching" in page
        assert "Nothing matches" in await _page(stand_in, "/inbox?q=nobody")


async def test_the_list_is_read_in_pages() -> None:
    """Fifty on a page, with links to the neighbours that keep the search."""
    async with standing_in() as stand_in:
        await stand_in.send([mail(subject=f"Mail {n}") for n in range(100)])
        await stand_in.send([mail(subject=f"Mail {n}") for n in range(100, 120)])
        first = await _page(stand_in, "/inbox?q=Mail")
        assert "1\u201350 of 120" in first
        assert 'href="?q=Mail&amp;page=2"' in first
        last = await _page(stand_in, "/inbox?q=Mail&page=3")
        assert "101\u2013120 of 120" in last
        assert "Older →" not in last
        for page in ("0", "-1", "x", "9" * 30):
            assert "1\u201350 of 120" in await _page(stand_in, f"/inbox?page={page}")


async def test_only_the_newest_page_loads_itself_anew() -> None:
    """The first page refreshes unless paused; a page one reads or searches stays."""
    async with standing_in() as stand_in:
        await stand_in.send(mail())
        assert 'http-equiv="refresh"' in await _page(stand_in, "/inbox")
        for path in ("/inbox?live=0", "/inbox?q=a", "/inbox?page=2"):
            assert 'http-equiv="refresh"' not in await _page(stand_in, path)


async def test_an_email_has_three_views_two_schemes_and_two_widths() -> None:
    """HTML in a frame, text, and the source; light or dark; wide or 360 pixels."""
    sent = mail(text="As text", headers={"List-Unsubscribe": "<https://us.dev/stop>"})
    async with standing_in() as stand_in:
        email_id = (await stand_in.send(sent, "the-key")).json()["id"]
        page = await _page(stand_in, f"/inbox/{email_id}")
        assert f'<iframe src="/inbox/{email_id}/html"' in page
        assert 'data-scheme="auto"' in page
        assert "As text" in await _page(stand_in, f"/inbox/{email_id}?view=text")
        source = await _page(stand_in, f"/inbox/{email_id}?view=source")
        assert "&lt;https://us.dev/stop&gt;" in source
        assert "the-key" in source
        dark = await _page(stand_in, f"/inbox/{email_id}?scheme=dark&width=360")
        assert 'data-scheme="dark"' in dark
        assert 'class="stage w360"' in dark
        odd = await _page(stand_in, f"/inbox/{email_id}?scheme=%22x&width=1&view=y")
        assert 'data-scheme="auto"' in odd


async def test_an_email_without_a_part_says_so() -> None:
    """Without HTML the text is shown; without text the page says what Resend does."""
    async with standing_in() as stand_in:
        only_text = (await stand_in.send(mail(html=None, text="Only text"))).json()["id"]
        assert "Only text" in await _page(stand_in, f"/inbox/{only_text}")
        only_html = (await stand_in.send(mail())).json()["id"]
        page = await _page(stand_in, f"/inbox/{only_html}?view=text")
        assert "Resend derives one from the HTML" in page
        opted_out = (await stand_in.send(mail(text=""))).json()["id"]
        page = await _page(stand_in, f"/inbox/{opted_out}?view=text")
        assert "no text part" in page
        assert "derives" not in page


async def test_neighbours_are_one_click_away() -> None:
    """Newer and older e-mails are linked, in the view one is in."""
    async with standing_in() as stand_in:
        ids = [(await stand_in.send(mail(subject=str(n)))).json()["id"] for n in range(3)]
        page = await _page(stand_in, f"/inbox/{ids[1]}?view=source")
        assert f'href="/inbox/{ids[2]}?view=source">Newer' in page
        assert f'href="/inbox/{ids[0]}?view=source">Older' in page


@pytest.mark.parametrize("path", ["/inbox/unknown", "/inbox/unknown/html"])
async def test_an_unknown_email_is_a_page(path: str) -> None:
    """A link to an e-mail that was cleared says so."""
    async with standing_in() as stand_in:
        response = await stand_in.control.http.get(path)
        assert (response.status_code, "No such e-mail" in response.text) == (404, True)


@pytest.mark.parametrize(
    "path", ["/inbox", "/inbox?q=%3Cscript%3E", "{}", "{}?view=text", "{}?view=source"]
)
async def test_nothing_in_a_mail_breaks_out_of_the_page(path: str) -> None:
    """Subject, names, parts, headers and tags are text wherever they are shown."""
    evil = mail(
        'A "q" <a@b.dev>',
        **{"from": '"<script>alert(1)</script>" <r@us.dev>'},
        subject=EVIL,
        html=EVIL,
        text=EVIL,
        headers={"X-Evil": EVIL},
    )
    async with standing_in() as stand_in:
        email_id = (await stand_in.send(evil, "<script>")).json()["id"]
        response = await stand_in.control.http.get(path.format(f"/inbox/{email_id}"))
        assert response.status_code == 200
        assert not re.search(r"<script|<img|onerror=(?!alert\(1\)&gt;)", response.text)
        policy = response.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src" not in policy


async def test_a_mails_html_is_locked_in() -> None:
    """The frame has no script, no origin, no way to navigate; its policy loads nothing."""
    async with standing_in() as stand_in:
        email_id = (await stand_in.send(mail(html=EVIL))).json()["id"]
        page = await _page(stand_in, f"/inbox/{email_id}")
        (sandbox,) = re.findall(r'<iframe[^>]*sandbox="([^"]*)"', page)
        assert set(sandbox.split()) == {"allow-popups", "allow-popups-to-escape-sandbox"}
        response = await stand_in.control.http.get(f"/inbox/{email_id}/html")
        policy = response.headers["content-security-policy"]
        directives = dict(part.strip().partition(" ")[::2] for part in policy.split(";"))
        assert directives["default-src"] == "'none'"
        assert directives["img-src"] == "data:"
        assert set(directives["sandbox"].split()) == set(sandbox.split())
        assert not {"script-src", "connect-src", "frame-src", "font-src"} & directives.keys()


@pytest.mark.parametrize(
    ("html", "shown"),
    [
        (
            '<!doctype html><html><head lang="en"><title>T</title></head>',
            '<!doctype html><html><head lang="en"><base target="_blank"><title>T</title></head>',
        ),
        ("<!DOCTYPE html><p>x", '<!DOCTYPE html><base target="_blank"><p>x'),
        ("<p>x", '<base target="_blank"><p>x'),
        ("<header>x", '<base target="_blank"><header>x'),
        (
            '<LINK rel=preconnect href="//x"><li<link>nk>',
            '<base target="_blank"><x-LINK rel=preconnect href="//x"><li<x-link>nk>',
        ),
        (
            '<meta http-equiv="refresh" content="0;url=//x"><iframe src="//x">',
            (
                '<base target="_blank"><meta x-http-equiv="refresh" content="0;url=//x">'
                '<x-iframe src="//x">'
            ),
        ),
    ],
)
async def test_links_open_beside_the_inbox(html: str, shown: str) -> None:
    """Links get a tab of their own; elements that lead elsewhere by themselves become unknown."""
    async with standing_in() as stand_in:
        email_id = (await stand_in.send(mail(html=html))).json()["id"]
        assert await _page(stand_in, f"/inbox/{email_id}/html") == shown


async def test_the_pages_bring_their_own_style() -> None:
    """Style and icon are served here, so the policy needs no other origin."""
    async with standing_in() as stand_in:
        style = await stand_in.control.http.get("/inbox/static/inbox.css")
        assert style.headers["content-type"].startswith("text/css")
        icon = await stand_in.control.http.get("/inbox/static/icon.svg")
        assert icon.headers["content-type"].startswith("image/svg+xml")
        assert "http" not in style.text
