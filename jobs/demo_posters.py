"""Rendered bilingual posters: text to read, in English, Chinese or both, with the truth of every line beside it.

Thirty events are announced twice each, in different languages, layouts and colours and with different places and dates, so
no two posters carry the same text. `metadata.jsonl` follows the imagefolder layout of Hugging Face datasets.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from jobs.demo_text import fitting_font

EVENTS = (
    ("Spring Book Fair", "春季图书展"),
    ("Jazz by the River", "河畔爵士之夜"),
    ("City Marathon", "城市马拉松"),
    ("Tea Tasting", "品茶会"),
    ("Night Market", "夜市美食节"),
    ("Lantern Festival", "元宵灯会"),
    ("Robot Workshop", "机器人工作坊"),
    ("Open Air Cinema", "露天电影"),
    ("Farmers Market", "农夫集市"),
    ("Chess Tournament", "国际象棋大赛"),
    ("Bicycle Day", "骑行日"),
    ("Photography Show", "摄影展览"),
    ("Piano Recital", "钢琴独奏会"),
    ("Garden Party", "花园聚会"),
    ("Science for Kids", "儿童科学课"),
    ("Pottery Class", "陶艺课程"),
    ("Dragon Boat Race", "龙舟竞赛"),
    ("Winter Sale", "冬季大减价"),
    ("Noodle House", "老街面馆"),
    ("Harbour Tour", "海港游览"),
    ("Stargazing Walk", "观星之旅"),
    ("Poetry Evening", "诗歌朗诵会"),
    ("Coffee and Code", "咖啡与编程"),
    ("Swimming Lessons", "游泳培训"),
    ("Antique Auction", "古董拍卖会"),
    ("Kite Flying", "风筝节"),
    ("Mountain Hike", "登山活动"),
    ("Calligraphy Club", "书法社团"),
    ("Ice Cream Week", "冰淇淋周"),
    ("Train Museum", "火车博物馆"),
)
PLACES = (
    ("Town Hall", "市政厅"),
    ("Central Park", "中心公园"),
    ("West Library", "西区图书馆"),
    ("Old Harbour", "老码头"),
    ("Art School", "美术学院"),
    ("North Station", "北站广场"),
    ("River Stage", "河岸舞台"),
)
MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
SLOGANS = (
    ("Free entry for everyone", "免费入场"),
    ("Bring your friends", "欢迎亲友参加"),
    ("Tickets at the door", "现场售票"),
    ("Seats are limited", "座位有限"),
    ("Rain or shine", "风雨无阻"),
)
PALETTES = (  # background, ornament, title, small text
    ("#fdf6e3", "#cb4b16", "#073642", "#586e75"),
    ("#12355b", "#d72638", "#fff8e8", "#cfe0f5"),
    ("#2d6a4f", "#95d5b2", "#ffffff", "#d8f3dc"),
    ("#ffe066", "#247ba0", "#1d1d1d", "#3a3a3a"),
    ("#f7f7f7", "#111111", "#b00020", "#333333"),
    ("#3c1642", "#ff9f1c", "#fdf0d5", "#e5c1ee"),
    ("#e0fbfc", "#ee6c4d", "#293241", "#3d5a80"),
    ("#1b1b1e", "#96031a", "#faa916", "#fbfffe"),
)
LANGUAGES = ("en", "zh", "mixed")
LAYOUTS = ("centred", "left", "band", "frame", "disc")
SIZES_PX = ((480, 640), (640, 480), (600, 600), (900, 600), (560, 800), (800, 450), (420, 560))


@dataclass(frozen=True)
class Poster:
    """What one poster says and how it looks."""

    lines: tuple[str, ...]  # from top to bottom; the title comes first
    language: str
    layout: str
    palette: tuple[str, str, str, str]
    size_px: tuple[int, int]


def write_posters(folder: Path, *, count: int, seed: int) -> int:
    """Write `count` (at most 60) posters and metadata.jsonl with file_name, text, lines, language and layout."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng([seed, 4])
    records = []
    for index in range(min(count, 2 * len(EVENTS))):
        poster = _compose(index, generator)
        name = f"poster-{index:02d}.{'png' if index % 3 else 'jpg'}"
        render(poster, generator).save(folder / name, quality=92)
        about = {"file_name": name, "text": _caption(poster), "lines": poster.lines}
        records.append(about | {"language": poster.language, "layout": poster.layout})
    lines = [json.dumps(record, ensure_ascii=False) for record in records]
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return len(records)


def _compose(index: int, generator: np.random.Generator) -> Poster:
    """Choose text and look; the second announcement of an event is in another language than the first."""
    again, event = divmod(index, len(EVENTS))
    language = LANGUAGES[(event + again) % len(LANGUAGES)]
    place, slogan = PLACES[generator.integers(len(PLACES))], SLOGANS[generator.integers(len(SLOGANS))]
    month, day, hour = int(generator.integers(12)), int(generator.integers(1, 29)), int(generator.integers(9, 21))
    english = (EVENTS[event][0], f"{day} {MONTHS[month]}, {hour}:30", place[0], slogan[0])
    chinese = (EVENTS[event][1], f"{month + 1}月{day}日 {hour}:30", place[1], slogan[1])
    mixed = (chinese[0], english[0], english[1], chinese[2])
    return Poster(
        lines={"en": english, "zh": chinese, "mixed": mixed}[language],
        language=language,
        layout=LAYOUTS[(index + again) % len(LAYOUTS)],
        palette=PALETTES[generator.integers(len(PALETTES))],
        size_px=SIZES_PX[generator.integers(len(SIZES_PX))],
    )


def _caption(poster: Poster) -> str:
    """Return the caption in the poster's language; a mixed poster is captioned in English."""
    if poster.language == "zh":
        return f"一张海报，标题为“{poster.lines[0]}”，并写有“{poster.lines[2]}”。"
    return f'A poster that announces "{poster.lines[0]}", with the words "{poster.lines[2]}".'


def render(poster: Poster, generator: np.random.Generator) -> Image.Image:
    """Return the poster as RGB pixels: ornament first, then the lines, each shrunk until it fits the width."""
    background, ornament, title, small = poster.palette
    image = Image.new("RGB", poster.size_px, background)
    draw = ImageDraw.Draw(image)
    _ornament(draw, poster, ornament, generator)
    width, height = poster.size_px
    anchor, x = ("lm", width * 0.09) if poster.layout == "left" else ("mm", width / 2)
    top = 0.46 if poster.layout == "disc" else 0.3
    title_px = min(width, height) * 0.13
    y = height * top
    for index, line in enumerate(poster.lines):
        size_px = title_px if index == 0 else title_px * 0.5
        font = fitting_font(line, size_px=size_px, width_px=width * 0.8)
        draw.text((x, y), line, title if index == 0 else small, font, anchor)
        y += size_px * (1.5 if index == 0 else 1.75)
    return image


def _ornament(draw: ImageDraw.ImageDraw, poster: Poster, colour: str, generator: np.random.Generator) -> None:
    """Draw what tells the layouts apart: a band, a frame, a disc, a bar at the left, or confetti away from the text."""
    width, height = poster.size_px
    unit = min(width, height)
    if poster.layout == "band":
        draw.rectangle((0, 0, width, height * 0.14), fill=colour)
        draw.rectangle((0, height * 0.9, width, height), fill=colour)
    elif poster.layout == "frame":
        inset = unit * 0.03
        draw.rectangle((inset, inset, width - inset, height - inset), outline=colour, width=round(unit * 0.02))
    elif poster.layout == "disc":
        radius = height * 0.16
        draw.circle((width / 2, height * 0.2), radius, fill=colour)
    elif poster.layout == "left":
        draw.rectangle((0, 0, width * 0.05, height), fill=colour)
    else:
        for _ in range(14):
            x, y = width * generator.random(), height * generator.choice((0.06, 0.12, 0.88, 0.94))
            draw.circle((x, y), unit * generator.uniform(0.01, 0.025), fill=colour)
