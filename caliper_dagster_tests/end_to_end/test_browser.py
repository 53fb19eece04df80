"""The browser that the tests of the web UI need."""

from __future__ import annotations

from pathlib import Path

from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By


def test_browser_runs_scripts_and_takes_pictures(browser: Chrome, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<h1>?</h1><script>document.querySelector('h1').textContent = 6 * 7</script>")
    browser.get(page.as_uri())
    assert browser.find_element(By.TAG_NAME, "h1").text == "42"
    picture = tmp_path / "page.png"
    assert browser.save_screenshot(str(picture))
    assert picture.read_bytes().startswith(b"\x89PNG")
