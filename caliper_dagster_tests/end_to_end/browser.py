"""A headless Chromium for the tests of what a person sees."""

from __future__ import annotations

from pathlib import Path

from selenium import webdriver

from caliper_dagster_tests.harness import servers

WINDOW = (1920, 1000)


def open_browser(profile: Path) -> webdriver.Chrome:
    """Start Chromium with an empty profile in this folder; the caller quits it.

    Raises:
        ServerError: there is no Chromium, or no driver for it.
    """
    programs = servers.find_chromium()
    if not programs:
        raise servers.ServerError(
            "no chromium and chromedriver found (Debian packages chromium and chromium-driver)"
        )
    browser, driver = programs
    options = webdriver.ChromeOptions()
    options.binary_location = str(browser)
    for argument in (
        "--headless",
        "--remote-debugging-pipe",  # and so it ends with its driver, which ends with the test
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        # Nothing that a browser does on its own account: the network is loopback only.
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        f"--user-data-dir={profile}",
        f"--window-size={WINDOW[0]},{WINDOW[1]}",
    ):
        options.add_argument(argument)
    service = webdriver.ChromeService(
        executable_path=str(driver), popen_kw={"preexec_fn": servers.die_with_parent}
    )
    return webdriver.Chrome(options=options, service=service)
