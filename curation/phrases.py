"""Short texts that signs and posters carry, to draw and to replace text with: our own, and those that the run's pictures show."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from curation.typefaces import is_chinese

ENGLISH = (
    "Open Daily", "Grand Opening", "Fresh Bread", "Summer Sale", "Live Music", "Free Parking", "Coffee House", "Art Museum",
    "Night Train", "Book Store", "City Garden", "Winter Lights", "Room 204", "Platform 7", "Exit Only", "Please Wait Here",
    "Half Price Today", "Since 1968", "Made by Hand", "Hot Noodles", "Green Tea", "Orange Juice", "Lunch Menu",
    "Best Before 2031",
    "Harbour Street", "Mountain View", "Sunday Market", "Film Festival", "Second Floor", "Ring the Bell", "Meet the Artist",
    "Doors at 19:00", "Tickets from 12 euros", "Only 3 days left", "Bring a friend", "Limited Edition", "Flower Show",
    "Home Delivery", "Bicycle Repair", "Piano Lessons", "Science Week", "Rooftop Bar", "River Cruise", "Apple Pie",
)  # fmt: skip
CHINESE = (
    "欢迎光临", "新品上市", "夏日特惠", "免费停车", "现场音乐会", "手工面包", "城市花园", "艺术博物馆", "二楼书店", "请在此等候",
    "今日半价", "百年老店", "热汤面", "清香绿茶", "鲜榨橙汁", "午餐菜单", "海港大道", "周日集市", "电影节开幕", "三号站台",
    "仅剩三天", "限量发售", "花卉展览", "送货上门", "自行车维修", "钢琴课程", "科学周", "屋顶酒吧", "江上游船", "苹果派",
    "早上八点开门", "会员专享", "请勿拍照", "安全出口", "茶馆", "火锅", "冬季灯会", "夜班列车", "亲子活动", "名家讲座",
)  # fmt: skip

QUOTES = set("\"'“”‘’「」『』《》`\\")
"""Characters that a quoted text must not hold, so that a quotation in an instruction has one reading."""


MISREAD = re.compile(r"[A-Za-z]0|0[A-Za-z]|[A-Za-z]1[A-Za-z]|\b[li][A-Z]|[a-z][A-Z]|\d[lI]|\bl[bcdfghjkmnpqrstvwxz]")
"""Mixtures of letters and digits or of cases that readers make of O, l and I; nobody should learn to write them."""


def phrases(texts: Iterable[str] = ()) -> dict[bool, list[str]]:
    """Return phrases by whether they are Chinese: ours and those of `texts` that can be quoted, sorted, each once."""
    every = {*ENGLISH, *CHINESE, *(text.strip() for text in texts if quotable(text.strip()))}
    return {chinese: sorted(text for text in every if is_chinese(text) == chinese) for chinese in (False, True)}


def quotable(text: str) -> bool:
    """Say whether a text is 2 to 28 plain printable characters, letters among them, without quotation marks."""
    plain = text.isprintable() and not QUOTES & set(text) and any(character.isalpha() for character in text)
    return plain and 2 <= len(text) <= 28 and len(set(text)) > 1 and not MISREAD.search(text)


def sure_texts(lines: Iterable[Sequence[Mapping[str, Any]] | None], *, min_confidence: float = 0.97) -> list[str]:
    """Return the texts of OCR rows that were read with at least `min_confidence`, in English or Chinese, sorted, each once."""
    found = {
        line["text"]
        for row in lines
        for line in row or ()
        if (line["confidence"] or 0) >= min_confidence and line["language"] in ("en", "zh") and quotable(line["text"])
    }
    return sorted(found)
