"""The banks: the port the engine speaks to, the ISO 8583 link behind it, and the directory of banks."""
