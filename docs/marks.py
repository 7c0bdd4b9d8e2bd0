"""Pages of which a part is generated, between two marks."""


def replaced(text: str, begin: str, content: str, end: str) -> str:
    """The text with ``content`` between the marks ``begin`` and ``end``."""
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n{content}\n{end}{after}"
