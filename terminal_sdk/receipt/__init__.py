"""A receipt on paper: the service composes its text; here it becomes bytes for a till's printer, or a PDF."""

from __future__ import annotations

from terminal_sdk.receipt.errors import FontMissing, PdfUnavailable
from terminal_sdk.receipt.pdf import pdf_bytes, write_pdf
from terminal_sdk.receipt.printer import to_printer

__all__ = ["FontMissing", "PdfUnavailable", "pdf_bytes", "to_printer", "write_pdf"]
