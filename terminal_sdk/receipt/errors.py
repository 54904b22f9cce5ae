"""What can stand in the way of a PDF. The receipt itself is not touched by it: its text prints without."""

from __future__ import annotations

from terminal_sdk.errors import TerminalError

EXTRA = 'pip install "settlement-terminal-sdk[pdf]"'


class PdfUnavailable(TerminalError):
    """The package that writes PDF is not installed."""

    def __init__(self) -> None:
        super().__init__(f"PDF needs fpdf2, which is not installed: {EXTRA}")


class FontMissing(TerminalError):
    """There is no usable font with Chinese glyphs. ``problem`` says what is wrong with the one that was named."""

    def __init__(self, problem: str = "no font with Chinese glyphs was found") -> None:
        self.problem = problem
        super().__init__(
            f"{problem}; install one (Debian, Ubuntu: apt-get install fonts-wqy-microhei; Fedora: dnf install"
            " google-noto-sans-cjk-fonts), or name a .ttf, .ttc or .otf file with font="
        )
