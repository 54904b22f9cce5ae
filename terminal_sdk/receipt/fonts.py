"""Which font a PDF is set in: a file that the till names, or one of the usual ones that the system has."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from terminal_sdk.receipt.errors import FontMissing

if TYPE_CHECKING:
    from fontTools.ttLib import TTFont

_LINUX = "/usr/share/fonts"
_WINDOWS = "C:/Windows/Fonts"
_MACOS = "/System/Library/Fonts"

PLACES: Sequence[str] = (
    f"{_LINUX}/truetype/wqy/wqy-microhei.ttc",  # Debian, Ubuntu: fonts-wqy-microhei
    f"{_LINUX}/wqy-microhei-fonts/wqy-microhei.ttc",  # Fedora: wqy-microhei-fonts
    f"{_LINUX}/wenquanyi/wqy-microhei/wqy-microhei.ttc",  # Arch: wqy-microhei
    f"{_LINUX}/opentype/noto/NotoSansCJK-Regular.ttc",  # Debian, Ubuntu: fonts-noto-cjk
    f"{_LINUX}/google-noto-sans-cjk-fonts/NotoSansCJK-Regular.ttc",  # Fedora: google-noto-sans-cjk-fonts
    f"{_LINUX}/noto-cjk/NotoSansCJK-Regular.ttc",  # Arch, Alpine: noto-fonts-cjk, font-noto-cjk
    f"{_WINDOWS}/simsun.ttc",
    f"{_WINDOWS}/msyh.ttc",
    f"{_MACOS}/PingFang.ttc",
    f"{_MACOS}/STHeiti Light.ttc",
)
"""Where a font with Chinese glyphs usually lies; the first that can be read is taken."""

_SUFFIXES = {".ttf", ".ttc", ".otf", ".otc"}
_NEEDED = "医保结算单0.-"
_OTHER_SCRIPTS = {"JP", "KR", "TC", "HK", "MO"}
_OTHER_WEIGHTS = {"Thin", "Ultralight", "Light", "DemiLight", "Medium", "Semibold", "Bold", "Black"}


@dataclass(frozen=True, slots=True)
class Face:
    """One face of a font file: ``number`` is its place in a collection (0 in a file of one face)."""

    path: Path
    number: int


def choose(font: str | Path | None) -> Face:
    """The face to set a receipt in: of ``font``, else of the first usable file of ``PLACES``.

    Raises ``FontMissing``. Needs fontTools, which fpdf2 brings along.
    """
    if font is not None:
        return _face_of(Path(font))
    for place in PLACES:
        with contextlib.suppress(FontMissing):
            return _face_of(Path(place))
    raise FontMissing


def _face_of(path: Path) -> Face:
    if path.suffix.lower() not in _SUFFIXES:
        raise FontMissing(f"{path} is not named like a TrueType or OpenType font ({', '.join(sorted(_SUFFIXES))})")
    try:
        written = path.stat()
        return _best_face(path.absolute(), written.st_mtime_ns, written.st_size)
    except OSError as error:
        raise FontMissing(f"the font {path} cannot be read: {error.strerror}") from error


@functools.lru_cache(maxsize=8)
def _best_face(path: Path, mtime_ns: int, size: int) -> Face:
    """The face for simplified Chinese and, of these, the one whose Latin letters are equally wide.

    Remembered for as long as the file is the same: a till prints all day, and a large collection takes a second.
    """
    from fontTools.ttLib import TTCollection, TTFont

    with path.open("rb") as file:
        try:
            collection = file.read(4) == b"ttcf"
            file.seek(0)
            faces = TTCollection(file, lazy=True).fonts if collection else [TTFont(file, lazy=True)]
            for number in sorted(range(len(faces)), key=lambda each: _rank(faces[each]), reverse=True):
                if _has_chinese_outlines(faces[number]):
                    return Face(path, number)
        except OSError:
            raise
        except Exception as error:  # a damaged table may end in anything, and there are many tables
            raise FontMissing(f"the font {path} is damaged, or of a kind that cannot be used") from error
    raise FontMissing(f"the font {path} has no Chinese glyphs that can be embedded")


def _rank(face: TTFont) -> tuple[bool, bool, bool]:
    words = set(str(face["name"].getBestFullName()).split())
    return (not words & _OTHER_SCRIPTS, "Mono" in words, not words & _OTHER_WEIGHTS)


def _has_chinese_outlines(face: TTFont) -> bool:
    characters = face.getBestCmap() or {}
    return ("glyf" in face or "CFF " in face) and all(ord(each) in characters for each in _NEEDED)
