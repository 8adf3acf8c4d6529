"""Enhancing a prompt by rules, without a model: nothing is invented and nothing solved.

The text that a request asks for is set in quotation marks, and what every picture needs and the request leaves open (framing,
light, background; the layout of a flat design) is added in plain words, chosen by the request alone. What was done is said.
"""

import re
import zlib
from dataclasses import dataclass

from captioning.invariants import SAYS, fixed
from captioning.language import language
from captioning.quotations import unquoted

RULES = "rules"
MAX_REQUEST_CHARACTERS = 4000
OPEN = {
    "en": {
        "framing": (
            r"\b(?:close-?up|wide|portrait|view|shot|angle|above|below|front|framing|composition|cent(?:re|er)ed|left|right)\b",
            (
                "The subject stands in the middle of the frame.",
                "The subject fills two thirds of the frame.",
                "Seen at eye level.",
            ),
        ),
        "light": (
            r"\b(?:light|lit|sun|sunset|sunrise|night|dark|shadow|glow|neon|dusk|dawn|morning|evening|candle)\w*\b",
            ("Soft daylight from one side.", "Even, diffuse light.", "Clear light with gentle shadows."),
        ),
        "background": (
            r"\b(?:background|behind|in front of|(?:in|on|at) (?:an?|the)|under|beside|sky|room|street|field)\b",
            ("The background is plain and unobtrusive.", "The background is simple and slightly out of focus."),
        ),
    },
    "zh": {
        "framing": (
            "特写|全景|远景|近景|中景|半身|全身|俯视|仰视|正面|侧面|视角|构图|居中|左|右",
            ("主体位于画面中央。", "主体约占画面的三分之二。", "平视视角。"),
        ),
        "light": (
            "光|阳|夜|暗|影|霓虹|黄昏|清晨|傍晚|烛",
            ("柔和的自然光从侧面照来。", "光线均匀柔和。", "光线清晰，阴影轻柔。"),
        ),
        "background": ("背景|后面|前面|里|上|下|旁|天空|房间|街|田野", ("背景简洁。", "背景简单，略微虚化。")),
    },
}
"""What a picture needs: the words that show that a request settles it, and sentences to choose from where it does not."""
GRAPHIC = re.compile(
    r"\b(?:poster|logo|sign|flyer|banner|cover|icon|diagram|card|label|menu|chart|infographic|sticker)s?\b"
    "|海报|标志|标识|封面|图标|横幅|名片|贺卡|菜单|图表|传单|贴纸",
    re.IGNORECASE,
)
"""Flat designs, which have a layout where pictures have light and background."""
LAYOUT = {"en": "The layout is clear and balanced, with wide margins.", "zh": "版面清晰匀称，四周留白充足。"}
LEGIBLE = {
    "en": "The text {texts} is set in a clear typeface, large enough to be read, spelled exactly so.",
    "zh": "画面中的文字{texts}使用清晰的字体，大小适合阅读，逐字准确。",
}


@dataclass(frozen=True)
class Enhanced:
    """A prompt, who wrote it (rules, vlm or endpoint), and what was done or why a model's was refused."""

    prompt: str
    by: str
    notes: tuple[str, ...] = ()


def by_rules(request: str) -> Enhanced:
    """Return the request with its texts quoted, and a sentence for each of framing, light and background that it leaves open."""
    bare = " ".join(request.split())[:MAX_REQUEST_CHARACTERS]
    if not bare:
        return Enhanced("", RULES, ("the request is empty",))
    spoken = spoken_language(bare)
    prompt, notes = _with_quotes(bare, spoken), []
    if prompt != bare:
        notes.append("quoted the text that is asked for")
    asked = fixed(prompt)
    stop = "。" if spoken == "zh" else "."
    sentences = [prompt if prompt[-1] in ".!?。！？" else prompt + stop]
    outside = unquoted(prompt)
    if GRAPHIC.search(outside):
        sentences.append(LAYOUT[spoken])
        notes.append("added layout")
    else:
        left = {
            what: choices for what, (settled, choices) in OPEN[spoken].items() if not re.search(settled, outside, re.IGNORECASE)
        }
        sentences += [
            choices[zlib.crc32(f"{bare}/{what}".encode(errors="replace")) % len(choices)] for what, choices in left.items()
        ]
        notes += [f"added {what}" for what in left]
    if asked.texts:
        marks = ("“", "”") if spoken == "zh" else ('"', '"')
        texts = ("、" if spoken == "zh" else ", ").join(f"{marks[0]}{text}{marks[1]}" for text in asked.texts)
        sentences.append(LEGIBLE[spoken].format(texts=texts))
        notes.append("asked for legible text")
    joined = ("" if spoken == "zh" else " ").join(sentences)
    return Enhanced(joined, RULES, (*notes, "no model: nothing was reasoned or invented"))


def _with_quotes(request: str, spoken: str) -> str:
    """Return the request with the texts that it asks for in quotation marks."""
    marks = ("“", "”") if spoken == "zh" else ('"', '"')
    for match in reversed(list(SAYS.finditer(request))):
        start, end = match.span("zh" if match["zh"] else "en")
        if not set(request[start:end]) & set('"“”「」'):
            request = f"{request[:start]}{marks[0]}{request[start:end].strip()}{marks[1]}{request[end:]}"
    return request


def spoken_language(text: str) -> str:
    """Return zh for a request whose own words are Chinese, else en."""
    outside = unquoted(text)
    return "zh" if language(outside if any(sign.isalpha() for sign in outside) else text) in ("zh", "ja") else "en"
