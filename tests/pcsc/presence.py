"""Names of the slots, the commands that tests send, and the shortest use of a reader."""

from __future__ import annotations

from terminal_sdk.reader.pcsc import PcscReader
from tests.pcsc.daemon import TILL_READER

SLOT_0, SLOT_1 = f"{TILL_READER} 00 00", f"{TILL_READER} 00 01"
SELECT = bytes.fromhex("00A404000F7378312E73682EC9E7BBE1B1A3D5CF")
SELECTED = bytes.fromhex("611D")
"""The answer on the contacts."""
VERIFY = bytes.fromhex("0020000003123456")
SELECT_EF06 = bytes.fromhex("00A4000002EF06")
READ_NUMBER = bytes.fromhex("00B2080014")


def works(reader: PcscReader) -> bool:
    """One presence, from connect to disconnect."""
    connection = reader.connect()
    try:
        return connection.transmit(SELECT) == SELECTED
    finally:
        connection.disconnect()
