"""`explain` as text for a person."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any


def tell(stories: Sequence[Mapping[str, Any]]) -> None:
    """Print every story, with a blank line between two."""
    for number, story in enumerate(stories):
        print("\n" * bool(number) + "\n".join(_lines(story)))


def _lines(story: Mapping[str, Any]) -> list[str]:
    image = story["images"]
    lines = [
        _harmless(f"{image['key']}: {story['verdict']}"),
        _row("id", image["id"]),
        _row("where", f"{image['uri']}" + (f" :: {image['member']}" if image["member"] else "")),
    ]
    if image["format"]:
        flags = f" ({', '.join(image['flags'])})" if image["flags"] else ""
        lines.append(
            _row("picture", f"{image['format']} {image['width']} x {image['height']} px, {image['length']} bytes{flags}")
        )
    if image["caption"]:
        lines.append(_row("said of it", image["caption"]))
    for table, write in PARTS.items():
        lines += [_row(table, text) for text in write(story.get(table) or {})]
    return lines + _relations(story)


def _relations(story: Mapping[str, Any]) -> list[str]:
    lines = []
    duplicate = story.get("duplicates") or {}
    if duplicate.get("keeper_row") is not None:
        keeper = story.get("keeper_key") or duplicate["keeper"]
        lines.append(_row("copy of", f"{keeper}, {_cosine(duplicate)}{duplicate['says']}"))
    if story.get("stands_for"):
        lines.append(_row("stands for", ", ".join(story["stands_for"])))
    for other in duplicate.get("merged_captions") or []:
        lines.append(_row("also said", f"{other['caption']} ({other['uri']})"))
    if duplicate.get("contained_in"):
        lines.append(_row("inside", f"{story.get('container_key') or duplicate['contained_in']} shows all of it"))
    lines += [_row(pair["relation"], f"{pair['key']}, {_cosine(pair)}{pair['says']}") for pair in story.get("related") or []]
    lines += [_row("not", f"{pair['key']}, {_cosine(pair)}{pair['says']}") for pair in story.get("look_alikes") or []]
    selection = story.get("selection") or {}
    if selection.get("status") == "kept":
        lines.append(_row("selection", f"weight {selection['weight']:.3f}, bucket {selection['bucket']} px"))
    if story.get("concepts"):
        lines.append(_row("concepts", ", ".join(f"{one['name']} {one['bm25']:.2f}" for one in story["concepts"])))
    if story.get("shards"):
        place = story["shards"]
        lines.append(_row("shard", f"{place['shard']}, {place['image_length']} bytes at {place['image_offset']}"))
    return lines + [_row("loss", _loss(one)) for one in story.get("losses") or []]


def _loss(one: Mapping[str, Any]) -> str:
    """Return what a model that was trained on the shards says of the image under one caption."""
    if one.get("error"):
        return f"not measured: {one['error']}"
    caption = ", ".join(part for part in (one["level"], one["language"]) if part)
    times = ", ".join(f"{time['loss']:.3f} at t = {time['t']:.2g}" for time in one["times"])
    takes = "" if one["help"] is None else f", its caption takes off {one['help']:.0%}"
    held = ", held out of training" if one["held_out"] else ""
    return f"[{caption}] {one['hardness']:.2f} times the average{takes}: {times}{held}"


def _cosine(pair: Mapping[str, Any]) -> str:
    return f"cosine {pair['similarity']:.3f}: " if pair.get("similarity") is not None else ""


def _numbers(row: Mapping[str, Any]) -> list[str]:
    values = [
        f"{name} {value:.4g}" for name, value in row.items() if isinstance(value, int | float) and not isinstance(value, bool)
    ]
    return [", ".join(values)] if values else []


def _tags(row: Mapping[str, Any]) -> list[str]:
    tags = row.get("tags") or []
    return [", ".join(f"{tag['label']} {tag['score']:.2f}" for tag in tags)] if tags else []


def _text(row: Mapping[str, Any]) -> list[str]:
    return [f'"{line["text"]}" ({line["language"]}, {line["confidence"]:.2f})' for line in row.get("lines") or []]


def _watermark(row: Mapping[str, Any]) -> list[str]:
    return [f'"{row["text"]}" is on {100 * row["share"]:.3g} % of its sub-collection'] if row.get("text") else []


def _mentions(row: Mapping[str, Any]) -> list[str]:
    return [
        f'{found["title"]} {found["score"]:.2f}: {found["source"]} {found["field"]} says "{found["text"]}"'
        for found in row.get("mentions") or []
    ]


def _captions(row: Mapping[str, Any]) -> list[str]:
    return [f"[{caption['level']}, {caption['language']}] {caption['text']}" for caption in row.get("captions") or []]


PARTS: Mapping[str, Callable[[Mapping[str, Any]], list[str]]] = {
    "metrics": _numbers,
    "scores": _numbers,
    "tags": _tags,
    "ocr": _text,
    "caption_fit": _numbers,
    "watermarks": _watermark,
    "mentions": _mentions,
    "captions": _captions,
}
"""What is told of an image, table by table."""


def _row(name: str, text: str) -> str:
    return f"  {name:<10} {_harmless(text)}"


def _harmless(text: str) -> str:
    """Return `text` without newlines or escape sequences: names and captions are other people's, the terminal is the user's."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)
