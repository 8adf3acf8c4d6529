"""English captions of one image: a function of its Facts per level, each returning clauses with their evidence.

Levels after Z-Image (arXiv 2511.22699, section 3.2): tags, short, medium and long describe the picture, plainly and without
praise; prompt is what a user might type, incomplete on purpose.
"""

from collections.abc import Callable, Sequence
from itertools import groupby

from captioning.clauses import Clause, Parts, choice, joined, prominent, quoted, shortened, word_count
from captioning.english_nouns import english_description, english_name, with_article, without_article
from captioning.evidence import Colour, Facts, Quote
from captioning.spoken_entities import Entity

MARKS = ('"', '"')
LANGUAGES = {
    "en": "English",
    "zh": "Chinese",
    "ja": "Japanese",
    "ko": "Korean",
    "fr": "French",
    "de": "German",
    "es": "Spanish",
    "it": "Italian",
    "pt": "Portuguese",
    "ru": "Russian",
    "ar": "Arabic",
}
PLACES = {
    "top": "at the top",
    "top left": "at the top left",
    "top right": "at the top right",
    "centre": "in the centre",
    "left": "on the left",
    "right": "on the right",
    "bottom": "at the bottom",
    "bottom left": "at the bottom left",
    "bottom right": "at the bottom right",
}


def tags(facts: Facts) -> Parts:
    """Return a comma-separated list: subject, medium, colours, linked entities, text."""
    items: list[Parts] = []
    if "en" in facts.sources and word_count(shortened(facts.sources["en"], 1000)) <= 6:
        bare = without_article(shortened(facts.sources["en"], 6))
        items.append([Clause(bare, "caption", facts.sources["en"])])
    items += [[Clause(subject.en, "tag", _score(subject.score))] for subject in facts.subjects]
    items.append(_medium(facts))
    items += [[_colour(colour)] for colour in facts.colours]
    items += [[Clause(english_name(entity), "entity", entity.value)] for entity in _unsaid(facts, items)]
    if facts.quotes:
        items.append([Clause("text", "ocr", f"{len(facts.quotes)} lines")])
        items += [[quoted(quote, MARKS)] for quote in prominent(facts, 1, max_words=8)]
    items += [[Clause("watermark", "watermark", mark.text)] for mark in facts.marks[:1]]
    return joined(items, ", ", ", ")


def short(facts: Facts) -> Parts:
    """Return up to about 15 words: the source's first sentence, or what the picture most surely is."""
    if "en" in facts.sources:
        return [Clause(shortened(facts.sources["en"], 15), "caption", facts.sources["en"])]
    picture = _picture(facts)
    lines = prominent(facts, 1, max_words=7)
    if facts.subjects:
        picture += [" of ", _subject(facts)]
    elif lines:
        picture += [" with the text ", quoted(lines[0], MARKS)]
    elif foreign := facts.foreign_words("en"):
        picture += [" described as: ", Clause(shortened(foreign, 15), "caption", foreign)]
    else:
        picture += _in_colours(facts, 2)
    return _capital(picture + _in_passing(facts, picture))


def medium(facts: Facts) -> Parts:
    """Return one or two sentences: the source's words, medium, subject, colours and the largest lines."""
    sentence = _picture(facts)
    if facts.subjects:
        sentence += [" of ", _subject(facts)]
    sentence += _in_colours(facts, 3, greys=True)
    if lines := prominent(facts, 3, max_words=20):
        sentence += [" with the words ", *_quotes(lines)]
    opening = _opening(facts)
    sentence = ["It is ", *sentence] if opening else _capital(sentence)
    foreign = _described(facts) if facts.is_suspect or not (facts.subjects or lines) else []
    return [*opening, *sentence, ".", *foreign, *_mentioned(facts, 1)]


def long(facts: Facts) -> Parts:
    """Return every fact: size, colours, subject, light, the source's words, and all text by place."""
    size = Clause(f"{facts.width_px} by {facts.height_px} pixels", "metric", f"{facts.width_px}x{facts.height_px}")
    parts: Parts = [*_opening(facts), "This is ", *_picture(facts), " of ", size, "."]
    if facts.colours:
        listed = [[_colour(colour, share=True)] for colour in facts.colours]
        noun = "tone" if facts.grayscale else "colour"
        parts += [f" Its main {noun} is " if len(listed) == 1 else f" Its main {noun}s are ", *joined(listed, ", ", " and "), "."]
    named = [subject for subject in facts.subjects if not subject.implied]
    if named:
        listed = [[Clause(with_article(subject.en), "tag", _score(subject.score))] for subject in named]
        parts += [" It shows ", *joined(listed, ", ", " and "), *_kind_of(facts, named[-1].en), "."]
    parts += _light(facts)
    parts += _described(facts)
    return parts + _all_text(facts) + _watermark(facts) + _mentioned(facts, 3)


def prompt(facts: Facts) -> Parts:
    """Return what a user might type for this picture: one or two of its facts, in one of three manners by the id."""
    source = facts.sources.get("en", "")
    tones = _tones(facts)
    manners: tuple[Parts, ...] = (_medium(facts),)
    if source:
        words = Clause(shortened(source, 8), "caption", source)
        bare = Clause(without_article(words.text), "caption", source)
        manners = ([bare], ["draw this: ", words], [bare, *tones])
    elif facts.subjects:
        subject = Clause(facts.subjects[0].en, "tag", _score(facts.subjects[0].score))
        manners = ([subject], [*_medium(facts), " of ", _subject(facts)], [subject, *tones])
    elif lines := prominent(facts, 1, max_words=8):
        words = quoted(lines[0], MARKS)
        manners = ([*_medium(facts), " that says ", words], [words, *tones], ["write ", words, *_in_colours(facts, 1)])
        if (spoken := facts.told_entities) and word_count(spoken[0].title) <= 5:
            topic = Clause(english_name(spoken[0]), "entity", spoken[0].value)
            manners = (*manners, [topic, ", ", *_medium(facts)], [words, ", ", topic, *tones])
    elif foreign := facts.foreign_words("en"):
        manners = (["draw this: ", Clause(shortened(foreign, 8), "caption", foreign)],)
    elif facts.colours and not facts.grayscale:
        listed = joined([[_colour(colour)] for colour in facts.colours[:2]], ", ", " and ")
        manners = ([*listed, " ", *_medium(facts)], [*_medium(facts), *_in_colours(facts, 1)], tones[1:])
    return manners[choice(facts, "prompt", len(manners))]


LEVELS: dict[str, Callable[[Facts], Parts]] = {
    "tags": tags,
    "short": short,
    "medium": medium,
    "long": long,
    "prompt": prompt,
}


def _picture(facts: Facts) -> Parts:
    """Return 'a portrait-format graphic'."""
    shape = Clause(_orientation(facts), "metric", f"{facts.width_px}x{facts.height_px}")
    article = "an " if shape.text[0] in "aeiou" else "a "
    return [article, shape, " ", *_medium(facts)]


def _orientation(facts: Facts) -> str:
    aspect = facts.width_px / facts.height_px
    if 0.95 <= aspect <= 1.05:
        return "square"
    if not 0.4 <= aspect <= 2.5:
        return "very wide" if aspect > 1 else "very tall"
    return "landscape-format" if aspect > 1 else "portrait-format"


def _medium(facts: Facts) -> Parts:
    measured = "unknown" if facts.flatness is None else f"flatness {facts.flatness:.2f}"
    noun = Clause(facts.medium, "metric", measured)
    if not facts.grayscale:
        return [noun]
    word = "black-and-white" if facts.medium == "photograph" else "grayscale"
    return [Clause(word, "metric", "is_grayscale true"), " ", noun]


def _colour(colour: Colour, *, share: bool = False) -> Clause:
    text = f"{colour.en} ({_percent(colour.share)})" if share else colour.en
    return Clause(text, "colour", f"{colour.hex} {colour.share:.3f}")


def _in_colours(facts: Facts, number: int, *, greys: bool = False) -> Parts:
    if not facts.colours or (facts.grayscale and not greys):
        return []
    listed = joined([[_colour(colour)] for colour in facts.colours[:number]], ", ", " and ")
    return [" in ", *listed, *([] if facts.medium == "graphic" else [" tones"])]


def _tones(facts: Facts) -> Parts:
    if not facts.colours or facts.grayscale:
        return []
    return [", ", *joined([[_colour(colour)] for colour in facts.colours[:2]], ", ", " and "), " tones"]


def _subject(facts: Facts) -> Clause:
    return Clause(with_article(facts.subjects[0].en), "tag", _score(facts.subjects[0].score))


def _light(facts: Facts) -> Parts:
    light = facts.light()
    return [" It is ", Clause(light, "metric", f"brightness {facts.brightness:.2f}"), " overall."] if light else []


def _opening(facts: Facts) -> Parts:
    """Return the source's own words as a first sentence; words that read like orders are not taken over but reported."""
    text = facts.sources.get("en", "")
    if not text or facts.is_suspect:
        return []
    words = Clause(text[:1].upper() + text[1:], "caption", text)
    return [words, " " if text[-1] in ".!?。！？…" else ". "]


def _described(facts: Facts) -> Parts:
    """Return what the source says where it cannot simply be said: in another language, or suspect."""
    text = facts.reported_words("en")
    if not text:
        return []
    stop = "" if text[-1] in ".!?。！？…" else "."
    return [" The source describes it as: ", Clause(text, "caption", text), stop]


def _unsaid(facts: Facts, items: Sequence[Parts]) -> list[Entity]:
    """Return the entities whose names are not in a list already."""
    said = "\n".join(part if isinstance(part, str) else part.text for item in items for part in item).lower()
    return [entity for entity in facts.told_entities if entity.title.lower() not in said]


def _in_passing(facts: Facts, picture: Parts) -> Parts:
    """Return ', mentioning the Lantern Festival' where fifteen words leave room and it is not said yet."""
    for entity in _unsaid(facts, [picture])[:1]:
        said = word_count("".join(part if isinstance(part, str) else part.text for part in picture))
        if said + 1 + word_count(english_name(entity)) <= 15:
            return [", mentioning ", Clause(english_name(entity), "entity", entity.value)]
    return []


def _mentioned(facts: Facts, number: int) -> Parts:
    """Return a sentence for each way of being mentioned: what the text names, and what that is."""
    parts: Parts = []
    ways = (("ocr", " The text mentions "), ("caption", " The description mentions "), ("metadata", " The source mentions "))
    for source, carrier in ways:
        named = [entity for entity in facts.told_entities[:number] if entity.source == source]
        if named:
            several = sum("," in part.text for entity in named for part in _with_description(entity) if not isinstance(part, str))
            between = "; " if several or (len(named) > 1 and any(entity.description for entity in named)) else ", "
            parts += [carrier, *joined([_with_description(entity) for entity in named], between, between + "and "), "."]
    return parts


def _with_description(entity: Entity) -> Parts:
    name: Parts = [Clause(english_name(entity), "entity", entity.value)]
    described = english_description(entity)
    return [*name, ", ", Clause(described, "entity", entity.value)] if described else name


def _kind_of(facts: Facts, label: str) -> Parts:
    """Return ', a breed of dog' behind the last subject of a sentence, where its label was linked."""
    linked = [one for one in facts.entities if one.source == "tag" and one.text.lower() == label.lower() and not one.is_person]
    described = english_description(linked[0]) if linked else ""
    return [", ", Clause(described, "entity", linked[0].value)] if described else []


def _all_text(facts: Facts) -> Parts:
    """Return every line verbatim, lines that share a place and follow each other in one sentence."""
    if not facts.quotes:
        return []
    number = len(facts.quotes)
    count = Clause(f"{number} lines of text" if number > 1 else "one line of text", "ocr", f"{number} lines")
    parts: Parts = [" It carries ", count]
    used = sorted({quote.language for quote in facts.quotes} & set(LANGUAGES))
    if used:
        parts += [" in ", *joined([[Clause(LANGUAGES[name], "ocr", f"language {name}")] for name in used], ", ", " and ")]
    parts += ["."]
    verbs = ("it reads ", "the text reads ", "it says ")
    verb = verbs[choice(facts, "verb", len(verbs))]
    for place, group in groupby(facts.quotes, key=lambda quote: quote.place):
        where = Clause(PLACES[place].capitalize(), "ocr", f"place {place}")
        parts += [" ", where, " ", verb, *_quotes(list(group)), "."]
    return parts


def _watermark(facts: Facts) -> Parts:
    """Return a sentence that names the source's mark, verbatim, as what it is."""
    marks: list[Parts] = [[quoted(mark, MARKS, "watermark")] for mark in facts.marks]
    carrier = " A watermark reads " if len(marks) == 1 else " Watermarks read "
    return [carrier, *joined(marks, ", ", " and "), "."] if marks else []


def _quotes(lines: list[Quote]) -> Parts:
    return joined([[quoted(line, MARKS)] for line in lines], ", ", " and ")


def _capital(parts: Parts) -> Parts:
    first, *rest = parts
    if isinstance(first, Clause):
        return [first._replace(text=first.text[:1].upper() + first.text[1:]), *rest]
    return [first[:1].upper() + first[1:], *rest]


def _percent(share: float) -> str:
    return f"{max(1, round(100 * share))}%"


def _score(score: float) -> str:
    return f"{score:.2f}"
