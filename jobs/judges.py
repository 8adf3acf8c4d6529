"""Questions that the graph asks a model through the one call that captions use: what to call a group, what can be drawn.

Where a model gives no usable answer, the graph goes on without: a group is named after its members, an entity the
evidence of its page. Answers are asked for as JSON and read with the same distrust as captions are.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from captioning.answer import Ask, Reply
from captioning.structured import read_object
from graph.group_names import Namer, usable_name
from graph.visual import Judge, Verdict

Answer = Callable[[Sequence[Ask]], list[Reply]]

NAME = """These things belong together:

{members}

Give the one short English noun phrase that names what they all are: as specific as it can be, and true of every one of them.
Answer with JSON: {{"name": "..."}}"""

SIGHT = """Encyclopedia entry: {title}
{about}

Could a painter or a photographer show this entry itself in one picture, so that people who know it recognise it? Concrete things,
beings, places, people and events can be shown; theories, laws, dates, lists and ambiguous words cannot.
Answer with JSON: {{"visual": true or false, "reason": "a few words"}}"""

NAME_SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}},
    "required": ["name"],
    "additionalProperties": False,
}
SIGHT_SCHEMA = {
    "type": "object",
    "properties": {"visual": {"type": "boolean"}, "reason": {"type": "string"}},
    "required": ["visual", "reason"],
    "additionalProperties": False,
}

MAX_CHARACTERS = 400
"""Longer descriptions are cut."""


def naming(answer: Answer) -> Namer:
    """Return a namer of groups that asks a model."""

    def name(groups: Sequence[Sequence[str]]) -> list[str | None]:
        asks = [
            _ask("concept:" + "|".join(members), NAME.format(members="\n".join(f"- {one}" for one in members)), NAME_SCHEMA)
            for members in groups
        ]
        return [_name(reply) for reply in answer(asks)]

    return name


def sight(answer: Answer) -> Judge:
    """Return a judge of visual generatability that asks a model."""

    def judge(rows: Sequence[Mapping[str, object]]) -> list[Verdict | None]:
        asks = [_ask(f"visual:{row['title']}", _sight_question(row), SIGHT_SCHEMA) for row in rows]
        return [_verdict(reply) for reply in answer(asks)]

    return judge


def _sight_question(row: Mapping[str, object]) -> str:
    about = [str(row[name])[:MAX_CHARACTERS] for name in ("description", "lead") if row[name]]
    return SIGHT.format(title=row["title"], about="\n".join(about) or "(nothing else is known of it)")


def _ask(key: str, text: str, schema: Mapping[str, Any]) -> Ask:
    return Ask(key=key, messages=[{"role": "user", "content": text}], max_tokens=100, json_schema=schema)


def _name(reply: Reply) -> str | None:
    found = _object(reply)
    name = found.get("name")
    return usable_name(name) if isinstance(name, str) else None


def _verdict(reply: Reply) -> Verdict | None:
    found = _object(reply)
    visual, reason = found.get("visual"), found.get("reason")
    if not isinstance(visual, bool):
        return None
    return Verdict(float(visual), " ".join(str(reason or "").split())[:MAX_CHARACTERS] or "no reason given", reply.model)


def _object(reply: Reply) -> Mapping[str, Any]:
    try:
        return read_object(reply.text or "")[0]
    except ValueError:
        return {}
