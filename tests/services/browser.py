"""Headless Chromium: a page's document after its scripts ran, a screenshot of it, and a driver to click with."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.services.programs import private_folder, require_program

if TYPE_CHECKING:
    from selenium import webdriver

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class Chromium:
    """Starts a new browser with an empty profile for each call; screenshots are kept in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._program = require_program("chromium", "/usr/bin/chromium")
        self._driver_program = require_program("chromedriver", "/usr/bin/chromedriver")
        self._folder = folder
        self._numbers = itertools.count(1)

    def dom(self, url: str, *, timeout: float = 60.0) -> str:
        """The document as HTML, after the page and its scripts have loaded."""
        return self._run("--dump-dom", url, timeout=timeout)

    def screenshot(self, url: str, *, width: int = 1280, height: int = 1024, timeout: float = 60.0) -> Path:
        """A PNG file of the page as it is once it has loaded."""
        path = self._folder / f"screenshot_{next(self._numbers)}.png"
        self._run(f"--screenshot={path}", f"--window-size={width},{height}", "--hide-scrollbars", url, timeout=timeout)
        assert path.exists(), f"chromium made no screenshot of {url}"
        return path

    @contextmanager
    def driver(self, *, width: int = 1280, height: int = 1024) -> Iterator[webdriver.Chrome]:
        """A browser to click and wait with, through Selenium; closed at the end."""
        from selenium import webdriver

        with private_folder("chromium", None) as profile:
            options = webdriver.ChromeOptions()
            options.binary_location = self._program
            for flag in [*FLAGS, f"--user-data-dir={profile}", f"--window-size={width},{height}"]:
                options.add_argument(flag)
            driver = webdriver.Chrome(options, webdriver.ChromeService(self._driver_program))
            try:
                yield driver
            finally:
                driver.quit()

    def _run(self, *arguments: str, timeout: float) -> str:
        with private_folder("chromium", None) as profile:
            process = subprocess.Popen(
                [self._program, *FLAGS, f"--user-data-dir={profile}", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            try:
                output, errors = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                # The browser is a group of processes.
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
                raise
            assert process.returncode == 0, errors[-5_000:]
            return output
