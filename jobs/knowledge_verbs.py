"""The verbs of knowledge bases: `imageloom knowledge build` and `imageloom knowledge show`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from curation.errors import ConfigError

app = typer.Typer(
    name="knowledge",
    help="Make a knowledge base from dumps of Wikipedia or another MediaWiki, and look things up in it.",
    short_help="Make a knowledge base from a wiki's dumps, and look it up.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command(short_help="Read dumps; write entities, links, names and concepts.")
def build(
    dump: Annotated[
        list[Path] | None, typer.Option(help="pages-articles XML: .bz2 (multistream or not), .gz or plain; may be repeated")
    ] = None,
    out: Annotated[Path, typer.Option(help="folder of the knowledge base; an interrupted build continues there")] = Path("kb"),
    langlinks: Annotated[
        list[Path] | None, typer.Option(help="langlinks SQL dump of the same wiki (.sql.gz): Chinese titles by page number")
    ] = None,
    sitelinks: Annotated[
        list[Path] | None, typer.Option(help="Wikidata JSON dump, or lines of it: Chinese titles, descriptions, classes")
    ] = None,
    edges: Annotated[
        list[Path] | None, typer.Option(help="instead of a dump: source TAB target [TAB count] lines, or parquet of the same")
    ] = None,
    cirrus: Annotated[list[Path] | None, typer.Option(help="instead of a dump: cirrussearch JSON lines (.json.gz)")] = None,
    language: Annotated[str | None, typer.Option(help="language of the pages; default: the dump's own, else en")] = None,
    split_mb: Annotated[float, typer.Option(min=0.01, help="MB of a packed file per part; a change makes the base stale")] = 8.0,
    min_visual: Annotated[float, typer.Option(min=0, max=1, help="what can hardly be drawn is no concept")] = 0.5,
    min_quantile: Annotated[float, typer.Option(min=0, max=1, help="share of articles left out by PageRank")] = 0.05,
    classes: Annotated[Path | None, typer.Option(help="TSV of Wikidata items and their classes, Q90 TAB Q515")] = None,
    prompts: Annotated[Path | None, typer.Option(help="user prompts (.txt, .jsonl, .csv) that PageRank favours")] = None,
    judge: Annotated[
        Path | None, typer.Option(help="YAML with a section endpoint or vlm: the model that says what can be drawn")
    ] = None,
    redo: Annotated[list[str] | None, typer.Option(help="compute this stage again, and what follows from it")] = None,
    address: Annotated[str, typer.Option(help="Ray: local, auto, or a cluster's address")] = "local",
    workers: Annotated[int | None, typer.Option(min=1, help="CPUs of the local Ray; default: all")] = None,
) -> None:
    """Read dumps and write entities, links, anchors and concepts; continues where it stopped, and does nothing twice.

    The same input gives the same tables for any number of workers. English Wikipedia with Chinese titles:

        imageloom knowledge build --dump enwiki-latest-pages-articles.xml.bz2 --langlinks enwiki-latest-langlinks.sql.gz

    A run uses it by `knowledge: {path: kb}` in its YAML.
    """
    from curation.tables import Run
    from jobs import summary
    from jobs.concept_graph import concept_parameters
    from jobs.knowledge import build as build_tables
    from jobs.knowledge import check_language_input
    from jobs.knowledge_view import show_built
    from jobs.runner import Limits

    for path in langlinks or []:
        check_language_input(path, sql=True)
    for path in sitelinks or []:
        check_language_input(path, sql=False)
    base = Run(out.expanduser())
    concepts, how = concept_parameters(
        min_visual=min_visual, min_quantile=min_quantile, classes=classes, prompts=prompts, judge=judge
    )
    with summary.progress() as bars:
        build_tables(
            base,
            dumps=dump or [],
            edges=edges or [],
            cirrus=cirrus or [],
            languages=[*(langlinks or []), *(sitelinks or [])],
            language=language,
            split_mb=split_mb,
            concepts=concepts,
            concepts_how=how,
            limits=Limits(address=address, num_cpus=workers),
            redo=redo or [],
            progress=bars,
        )
    show_built(base)


@app.command(short_help="Show one entity and its names.")
def show(
    title: Annotated[str, typer.Argument(help='title, redirect, link text or Chinese title: "Lantern Festival", 元宵节')],
    kb: Annotated[Path, typer.Option(help="folder of the knowledge base")] = Path("kb"),
    links: Annotated[int, typer.Option(min=0, help="links and names that are listed")] = 12,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON value instead of text")] = False,
    svg: Annotated[
        Path | None, typer.Option(help="also draw it among its neighbours in the concept graph into this file")
    ] = None,
) -> None:
    """Show one entity: what it is, its names with how often they mean it, its links, its rank and its verdict.

    Example:

        imageloom knowledge show "Lantern Festival"
    """
    from curation.tables import Run
    from jobs.knowledge_show import look_up
    from jobs.knowledge_view import show_entity

    base = Run(kb.expanduser())
    if not base.has("entities"):
        raise ConfigError(f"{kb} is no complete knowledge base: it has no entities/ table; `imageloom knowledge build` makes one")
    found = look_up(base, title, most=links)
    print(json.dumps(found, indent=1, ensure_ascii=False)) if as_json else show_entity(found)
    if svg is not None:
        from jobs.concept_files import entity_picture

        svg.expanduser().write_text(entity_picture(base, found["entity"]), encoding="utf-8")


@app.command(short_help="Write the concept graph as GraphML or parquet.")
def export(
    kb: Annotated[Path, typer.Argument(help="folder of the knowledge base")],
    graphml: Annotated[Path | None, typer.Option(help="GraphML file, for networkx, Gephi, Cytoscape or igraph")] = None,
    parquet: Annotated[Path | None, typer.Option(help="folder for nodes.parquet and edges.parquet")] = None,
    top: Annotated[
        int | None, typer.Option(min=0, help="entities of highest PageRank; 0: all kept ones; default: 5000 for GraphML, else 0")
    ] = None,
) -> None:
    """Write the concept graph: kept entities, the links among them, and what each is a kind of.

    Example:

        imageloom knowledge export kb/enwiki --graphml enwiki.graphml --top 2000
    """
    from curation.tables import Run
    from jobs.concept_files import write_concept_graph

    most = top if top is not None else 5000 if graphml is not None else 0
    nodes, edges = write_concept_graph(Run(kb.expanduser()), graphml=graphml, parquet=parquet, top=most)
    print(f"{nodes:,} entities and {edges:,} edges")
