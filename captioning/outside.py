"""Text that comes from outside, a picture's words or the source's caption: made fit to be written down, and judged for orders.

Such text is data. It is cleaned and quoted as what it is; where it addresses a language model it is flagged, and a model that
does what it says has its caption refused (captioning/orders.py).
"""

import re
import unicodedata

INJECTION = re.compile(
    r"\b(ignore|disregard|forget|override)\b.{0,40}\b(instructions?|prompts?|rules?|above|previous)\b"
    r"|\byou are now\b|\bsystem prompt\b|\bnew instructions?\b|\bas an ai\b|<\|\w+\|>|\[/?INST\]|</?(system|assistant|user)>"
    r"|\b(respond|reply|answer|output)\b.{0,20}\b(only|with|exactly)\b|\bdo not (describe|caption|mention|transcribe)\b"
    r"|(忽略|无视|忘记|不要理会|不要遵守).{0,20}(指令|指示|提示|要求|规则|以上|之前)|你现在(是|扮演)|系统提示词?|新的指令|只(输出|回答|回复)",
    re.IGNORECASE | re.DOTALL,
)
"""Text that addresses a language model rather than a reader of the picture."""


def cleaned(text: str, limit: int) -> str:
    """Return `text` in one line without control, format and unassigned characters, cut to `limit` characters."""
    spaced = "".join(" " if unicodedata.category(c) in ("Zl", "Zp") or c in "\t\n\r\v\f" else c for c in text)
    kept = "".join(c for c in spaced if unicodedata.category(c)[0] != "C" and c != "\ufffd")
    return kept.strip()[:limit].strip()
