"""The verbs of the command line: `imageloom VERB` or `python -m jobs VERB`.

Exit codes: 0 done; 1 unexpected; 2 wrong key, value or name; 3 source unreadable; 4 wrong schema; 5 stale stage; 6 corrupt
part, or validate found something; 7 a stage failed; 8 too many failures; 9 model unusable; 10 server unusable; 130 interrupted;
143 terminated.
"""

import json
import logging
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from curation.errors import ConfigError, ImageloomError
from jobs.knowledge_verbs import app as knowledge

app = typer.Typer(
    name="imageloom",
    help="From a folder of images to training shards, and from shards to an S3-DiT's samples.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)

app.add_typer(knowledge)

INTERRUPTED = 130
"""Exit code of a command ended by Ctrl-C."""

RunFolder = Annotated[Path, typer.Argument(help="the run folder (out in the YAML, --out on the command line)")]
AsJson = Annotated[bool, typer.Option("--json", help="print one JSON value instead of text")]


@app.command(short_help="Run every stage that is not up to date.")
def run(
    config: Annotated[Path | None, typer.Argument(help="YAML file; every key is listed in docs/config.md")] = None,
    source: Annotated[str | None, typer.Option(help="folder, tar, parquet or JSONL of images; overrides the YAML")] = None,
    out: Annotated[str | None, typer.Option(help="run folder; overrides the YAML")] = None,
    until: Annotated[str | None, typer.Option(help="stop after this stage")] = None,
    only: Annotated[str | None, typer.Option(help="run this stage and those it rests on, no other")] = None,
    from_: Annotated[str | None, typer.Option("--from", help="begin at this stage; those before must be complete")] = None,
    redo: Annotated[
        list[str] | None, typer.Option(help="compute this stage again, and what follows from it; may be repeated")
    ] = None,
    address: Annotated[str | None, typer.Option(help="Ray: local (default), auto, or a cluster's address")] = None,
    workers: Annotated[int | None, typer.Option(help="CPUs of the local Ray; default: all")] = None,
    plan_only: Annotated[bool, typer.Option("--plan", help="print what it would take, and run nothing")] = False,
    images: Annotated[str | None, typer.Option(help="with --plan: number of images, e.g. 1e9; default: list the source")] = None,
    cluster: Annotated[
        str | None, typer.Option(help="with --plan: ray_cluster.yaml, or nodes=8,cores=32,gpus=1,memory_gb=256; default: here")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="with --plan: print one JSON value instead of text")] = False,
) -> None:
    """Run every stage that is not up to date: ingest, profile, embed, ..., shard, train, sample, report.

    A run that was interrupted continues where it stopped; a finished run does nothing. Example:

        imageloom run --source ~/Pictures --out runs/pictures
    """
    from curation.tables import Run
    from jobs import summary
    from jobs.config import read_config
    from jobs.pipeline import between, needed_for, pipeline
    from jobs.runner import Limits, run_stages
    from model.specs import check_folders

    if plan_only and images is not None:  # nothing is read or written, so neither place need be known
        source, out = source or (None if config else "images"), out or (None if config else "runs/planned")
    ray = {key: value for key, value in (("address", address), ("num_cpus", workers)) if value is not None}
    settings = read_config(config, {"source": source, "out": out, "ray": ray or None})
    target = Run(Path(settings.out).expanduser())
    if only is not None and (until or from_):
        raise ConfigError("--only names the stages by what one of them needs; it goes with neither --from nor --until")
    if plan_only:
        from jobs.dry_run import print_plan

        asked = needed_for(pipeline(settings), only) if only else between(pipeline(settings), target, start=None, until=until)
        print_plan(settings, target, asked, images=images, cluster=cluster, as_json=as_json)
        return
    if images is not None or cluster is not None or as_json:
        raise ConfigError("--images, --cluster and --json belong to --plan; without it they have no effect")
    plan = needed_for(pipeline(settings), only) if only else between(pipeline(settings), target, start=from_, until=until)

    if settings.train is not None:
        named = settings.train
        check_folders(autoencoder=named.autoencoder, text=named.text, siglip=named.siglip, init=named.init)

    def begin() -> None:
        if not target.num_parts("images"):  # a new run that is killed can say what it was
            summary.write_config(target, settings)

    with summary.progress() as bars:
        limits = Limits(**settings.ray.model_dump())
        outcomes = run_stages(target, plan, limits=limits, redo=redo or [], progress=bars, begin=begin)
    summary.write_config(target, settings)
    summary.show(target, outcomes)


@app.command(short_help="Show every stage's state and cost, and the balance.")
def status(folder: RunFolder, as_json: AsJson = False) -> None:
    """Show every stage's state and cost, and the balance: in = kept + dropped by reason + failed by code."""
    from jobs import summary
    from jobs.pipeline import TABLES
    from jobs.status import status as read_status

    found = read_status(_existing(folder), TABLES)
    print(json.dumps(found, indent=1)) if as_json else summary.show_status(found)


@app.command(short_help="Tell the whole story of one image.")
def explain(
    folder: RunFolder,
    name: Annotated[str, typer.Argument(help="id, beginning of an id (8 or more), file name, path, or key")],
    as_json: AsJson = False,
    graphml: Annotated[Path | None, typer.Option(help="also write its copies and containers to this GraphML file")] = None,
) -> None:
    """Tell the whole story of one image: source, measures, decision, copies, captions, shard."""
    from jobs import story
    from jobs.explain import explain as find

    run = _existing(folder)
    found = find(run, name)
    print(json.dumps(found, indent=1, ensure_ascii=False, default=str)) if as_json else story.tell(found)
    if graphml is not None:
        from jobs.neighbourhood import write_neighbourhood

        write_neighbourhood(run, found[0]["row"], graphml)


@app.command(short_help="Find images by a picture, words, an image or a community.")
def search(
    folder: RunFolder,
    image: Annotated[Path | None, typer.Option(help="images like this picture file")] = None,
    text: Annotated[str | None, typer.Option(help='images of this text; "quotation marks" make a phrase of words')] = None,
    community: Annotated[str | None, typer.Option(help="the community of this row, id or name, and what lies near it")] = None,
    id_: Annotated[str | None, typer.Option("--id", help="images like this one of the run: id, beginning of it, or name")] = None,
    vector: Annotated[str | None, typer.Option(help="images near a vector: FILE.npy or FILE.npy:ROW, as voids writes")] = None,
    k: Annotated[int, typer.Option("--k", "-k", min=1, max=10_000, help="images that are listed")] = 20,
    kept_only: Annotated[bool, typer.Option(help="only images that the selection keeps")] = False,
    words: Annotated[bool, typer.Option(help="search --text by words even when the embedder reads texts")] = False,
    as_json: AsJson = False,
    html: Annotated[Path | None, typer.Option(help="also write a contact sheet, one HTML file, here")] = None,
) -> None:
    """Find images by a picture, by words, by an image of the run, or by a community.

    Give exactly one of --image, --text, --community, --id and --vector. Example:

        imageloom search runs/pictures --text "red kite" --html kites.html
    """
    from jobs.search import answer
    from jobs.search_view import present

    run = _existing(folder)
    found = answer(
        run, image=image, text=text, community=community, id_=id_, vector=vector, k=k, kept_only=kept_only, words=words
    )
    present(run, found, as_json=as_json, html=html)


@app.command(short_help="List what a collection has too little of.")
def voids(
    folder: RunFolder,
    reference: Annotated[Path | None, typer.Option(help="a run of what it ought to cover, with the same embedder")] = None,
    concepts: Annotated[
        Path | None, typer.Option(help="JSONL, CSV or text file, or a knowledge base: what it ought to show")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="folder for voids.jsonl and voids.html; default: RUN/voids")] = None,
    regions: Annotated[int | None, typer.Option(min=2, help="regions of the reference; default: by its size")] = None,
    at_least: Annotated[int, typer.Option(min=1, help="images wanted of a concept that does not say")] = 20,
    as_json: AsJson = False,
) -> None:
    """List what a collection has too little of, against a reference run or a list of concepts, as queries to fetch by.

    Give one of --reference and --concepts. Example:

        imageloom voids runs/pictures --reference runs/encyclopedia
    """
    from jobs.voids import find_voids

    run, other = _existing(folder), _existing(reference) if reference else None
    find_voids(run, reference=other, concepts=concepts, out=out, regions=regions, at_least=at_least, as_json=as_json)


@app.command(short_help="Propose thresholds for the run's embedder.")
def calibrate(
    folder: RunFolder,
    sample: Annotated[int, typer.Option(min=1, help="images that altered copies are made of")] = 200,
    precision: Annotated[float, typer.Option(help="promised share of true copies among the pairs above a threshold")] = 0.99,
    copies_per_image: Annotated[
        float | None, typer.Option(help="copy pairs over images that the promise is for; default: as found, at least 0.05")
    ] = None,
    seed: Annotated[int, typer.Option(help="seed of the sample and the alterations")] = 0,
    out: Annotated[Path | None, typer.Option(help="folder for calibration.json and calibration.html; default: the run")] = None,
) -> None:
    """Propose thresholds for the run's embedder from altered copies of the run's own images.

    The run must be complete up to embed. Prints a table and a YAML snippet; refuses a precision that the sample does not support.
    """
    from jobs.calibrate import calibrate as measure
    from jobs.calibration_view import show, write

    result = measure(_existing(folder), sample=sample, precision=precision, copies_per_image=copies_per_image, seed=seed)
    write(result, out or folder)
    show(result)


@app.command(short_help="Turn failures of a model into proposals, then a new run.")
def remediate(
    folder: RunFolder,
    failures: Annotated[
        Path | None, typer.Option(help="folder of failed pictures with .txt prompts, or JSONL of prompt, image, problem, ...")
    ] = None,
    apply: Annotated[Path | None, typer.Option(help="a reviewed proposals.jsonl: write what is approved to --out")] = None,
    out: Annotated[
        Path | None, typer.Option(help="folder for proposals (default: RUN/remediation); with --apply NEW.yaml or FILE.jsonl")
    ] = None,
    k: Annotated[int, typer.Option("--k", "-k", min=1, max=1000, help="images looked at per picture and prompt")] = 10,
    want: Annotated[int, typer.Option(min=1, help="images that a prompt's subject needs")] = 20,
) -> None:
    """Turn failures of a model into proposals to drop, relabel or fetch images; then the approved ones into a new run.

    First --failures, then a person sets `approved` in proposals.jsonl, then --apply. Example:

        imageloom remediate runs/pictures --failures bad-samples
        imageloom remediate runs/pictures --apply runs/pictures/remediation/proposals.jsonl --out next.yaml
    """
    from jobs.remediate import remediate as remediate_run

    remediate_run(_existing(folder), failures=failures, apply=apply, out=out, k=k, want=want)


@app.command(short_help="Caption a few images before a model is paid for.")
def caption(
    folder: RunFolder,
    preview: Annotated[int, typer.Option(min=1, max=1000, help="images that are captioned")] = 20,
    html: Annotated[Path | None, typer.Option(help="also write one HTML file: pictures, captions, evidence, question")] = None,
    config: Annotated[
        Path | None, typer.Option(help="YAML whose captioning is tried; default: the one the run was made with")
    ] = None,
    estimate: Annotated[bool, typer.Option("--estimate", help="only count what a server would be asked, and its cost")] = False,
    export_batch: Annotated[
        Path | None, typer.Option(help="write all open questions as JSONL of OpenAI's Batch API instead of asking them")
    ] = None,
    import_batch: Annotated[
        list[Path] | None, typer.Option(help="take the answers of a batch's output or error file; may be repeated")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Look before you spend: caption a few images as configured, show everything, store nothing.

    The sample holds some of every sub-collection, with text and without, and is the same every time. With a server as backend,
    the last three options count, export and import all questions of the run. Example:

        imageloom caption runs/pictures --preview 20 --html preview.html --config with-a-model.yaml
    """
    if estimate or export_batch is not None or import_batch:
        from jobs.batches import answer_later

        results = import_batch or []
        answer_later(_existing(folder), config=config, estimate=estimate, export=export_batch, results=results, as_json=as_json)
        return
    from jobs.preview_view import look

    look(_existing(folder), config=config, number=preview, html=html, as_json=as_json)


@app.command(short_help="Show what edit pairs a run has.")
def pairs(
    folder: RunFolder,
    html: Annotated[Path | None, typer.Option(help="file of a page with source, target and instructions side by side")] = None,
    number: Annotated[int, typer.Option(help="pairs on the page", min=1)] = 40,
    as_json: AsJson = False,
) -> None:
    """Show what edit pairs a run has: by kind, task, operation and reason of refusal, and the pairs themselves as a page."""
    from jobs.pairs_view import overview, show, write_sheet

    found = _existing(folder)
    if not found.has("edit_pairs"):
        raise ConfigError(f"{folder} has no edit pairs; give its YAML a section `pairs` and run it")
    if html is not None:
        write_sheet(found, html, number=number)
    show(overview(found), as_json=as_json, html=html)


@app.command(short_help="Write RUN/report.html again.")
def report(
    folder: RunFolder,
    losses: Annotated[
        list[Path] | None,
        typer.Option(
            help="file by `imageloom losses` of the run's shards, shown instead of its own losses, or of its pair shards"
        ),
    ] = None,
) -> None:
    """Write RUN/report.html again from the tables as they are, also in the middle of a run."""
    from jobs.report import page

    target, found = _existing(folder), dict[str, Any]()
    if losses:
        from jobs.losses import read_losses

        found = read_losses(losses)
    target.store.put("report.html", page(target, **found).encode())
    print(target.root / "report.html")


@app.command(short_help="Train an S3-DiT on a folder of shards, without a run.")
def train(
    shards: Annotated[str, typer.Argument(help="shards with their indexes: RUN/shards, or a URL such as s3://bucket/shards")],
    config: Annotated[Path, typer.Argument(help="YAML with a section `train`, or that section's keys alone")],
    out: Annotated[Path, typer.Option(help="folder for checkpoints and log.jsonl; training resumes from what is there")],
    workers: Annotated[int, typer.Option(min=1, help="processes on Ray, each with a GPU of its own if device is cuda")] = 1,
    address: Annotated[str | None, typer.Option(help="Ray: local (default), auto, or a cluster's address")] = None,
) -> None:
    """Train an S3-DiT on a folder of shards, without a run: in one process, or in several, resumed by any number of them.

    Several processes on Ray: --workers. Without Ray, one command per machine:

        python -m torch.distributed.run --nproc_per_node 8 -m jobs train SHARDS CONFIG --out FOLDER
    """
    from jobs.direct import train_on

    train_on(shards, config, out, workers=workers, address=address)


@app.command(short_help="Ask a trained model about every image of shards.")
def losses(
    checkpoint: Annotated[Path, typer.Argument(help="a checkpoint, or a folder or run that holds some: its newest")],
    shards: Annotated[str, typer.Argument(help="shards, or shards of edit pairs, with their indexes: a folder or a URL")],
    out: Annotated[Path, typer.Option(help="parquet file to write: sample_loss, or pair_loss of edit pairs")],
    time: Annotated[
        list[float] | None, typer.Option(min=0, max=1, help="0 noise, 1 data; may be repeated [default: 0.05, 0.2, 0.5, 0.8]")
    ] = None,
    captions: Annotated[int, typer.Option(min=1, help="captions per image; an edit has its instruction")] = 1,
    share: Annotated[float, typer.Option(min=0, max=1, help="of the images or pairs, by a hash")] = 1.0,
    batch_size: Annotated[int, typer.Option(min=1, help="samples per forward pass")] = 64,
    seed: Annotated[int, typer.Option(help="of the noise and the hashes")] = 0,
    as_json: AsJson = False,
) -> None:
    """Ask a trained model about every image, or edit pair, of shards: its loss at fixed times from fixed noise.

    For trainings outside of a run; `imageloom report RUN --losses FILE` shows the result beside the run's other tables.
    """
    from jobs.direct import find_checkpoint
    from jobs.losses import measure, show

    times = time or [0.05, 0.2, 0.5, 0.8]
    means = measure(
        find_checkpoint(checkpoint), shards, out, times=times, captions=captions, share=share, batch_size=batch_size, seed=seed
    )
    show(means, out, as_json=as_json)


@app.command(short_help="Sample images for prompts.")
def sample(
    checkpoint: Annotated[
        Path, typer.Argument(help="a checkpoint folder, a folder of checkpoints, a run folder, or a diffusers pipeline")
    ],
    prompt: Annotated[list[str], typer.Option(help="one image per prompt; may be repeated")],
    out: Annotated[Path, typer.Option(help="folder for the PNGs and grid.png")],
    num_steps: Annotated[int, typer.Option(min=1, help="Euler steps")] = 8,
    guidance: Annotated[float, typer.Option(min=1, help="w in u + w (c - u); 1 is off")] = 3.0,
    seed: Annotated[
        list[int] | None,
        typer.Option(help="of the noise: one for all, each image with its place, or one per prompt [default: 0]"),
    ] = None,
    width_px: Annotated[int | None, typer.Option(min=1, help="width; default: 32, or that of the last reference")] = None,
    height_px: Annotated[int | None, typer.Option(min=1, help="height; default: likewise")] = None,
    negative_prompt: Annotated[str, typer.Option(help="what guidance leads away from")] = "",
    shift: Annotated[float | None, typer.Option(min=0.01, help="of the step grid; default: the model's own")] = None,
    cfg_truncation: Annotated[float, typer.Option(min=0, max=1, help="time in [0, 1] beyond which guidance ends")] = 1.0,
    cfg_normalization: Annotated[float, typer.Option(min=0, help="cap of the guided velocity's norm; 0 is none")] = 0.0,
    reference: Annotated[list[Path] | None, typer.Option(help="image that the prompts edit; may be repeated")] = None,
    image: Annotated[Path | None, typer.Option(help="image that every prompt starts from instead of pure noise")] = None,
    strength: Annotated[
        float | None, typer.Option(min=0, max=1, help="with --image: share of the steps made, 1 forgets the image [default: 0.6]")
    ] = None,
    attention: Annotated[str, typer.Option(help="kernel: sdpa, varlen, flash2 or flash3")] = "sdpa",
    lora: Annotated[list[Path] | None, typer.Option(help="file of adapters to merge; may be repeated")] = None,
    lora_strength: Annotated[float | None, typer.Option(help="with --lora: factor of what adapters change [default: 1]")] = None,
    in_turn: Annotated[bool, typer.Option("--in-turn", help="one part of a pipeline in memory at a time")] = False,
    int8: Annotated[bool, typer.Option("--int8", help="with --in-turn: weights in eight bits")] = False,
    enhance: Annotated[bool, typer.Option("--enhance", help="rewrite the prompts first; docs/captioning.md")] = False,
    config: Annotated[
        Path | None, typer.Option(help="with --enhance: YAML that names the captions' backend; default: the run's")
    ] = None,
) -> None:
    """Sample images for prompts and write them with a contact sheet."""
    from jobs.direct import enhanced, sample_from

    if config is not None and not enhance:
        raise ConfigError("--config belongs to --enhance; without it it has no effect")
    prompts = enhanced(prompt, config, checkpoint) if enhance else prompt
    sample_from(
        checkpoint,
        out,
        prompts=prompts,
        num_steps=num_steps,
        guidance=guidance,
        seed=seed[0] if seed and len(seed) == 1 else seed or 0,
        width_px=width_px,
        height_px=height_px,
        negative_prompt=negative_prompt,
        shift=shift,
        cfg_truncation=cfg_truncation,
        cfg_normalization=cfg_normalization,
        references=reference or (),
        image=image,
        strength=strength,
        attention=attention,
        lora=lora or (),
        lora_strength=lora_strength,
        in_turn=in_turn,
        int8=int8,
    )


@app.command(short_help="Write a trained model for diffusers.")
def export(
    checkpoint: Annotated[Path, typer.Argument(help="a checkpoint folder, a folder of checkpoints, or a run folder")],
    out: Annotated[Path, typer.Option(help="the folder, or with --lora the file, to write; it must not exist")],
    transformer_only: Annotated[bool, typer.Option(help="write the transformer without encoders and scheduler")] = False,
    lora: Annotated[bool, typer.Option("--lora", help="write the trained adapters alone, as one safetensors file")] = False,
) -> None:
    """Write a trained model as a folder that diffusers' ZImagePipeline opens, or its adapters for load_lora_weights.

    A whole pipeline needs a training with autoencoder flux:<folder>, text qwen3:<folder> and pad_to 32; adapters are merged in.
    """
    from jobs.direct import export as export_checkpoint
    from jobs.direct import export_adapters

    if lora and transformer_only:
        raise ConfigError("--lora writes adapters alone: leave out --transformer-only")
    if lora:
        export_adapters(checkpoint, out)
    else:
        export_checkpoint(checkpoint, out, transformer_only=transformer_only)


@app.command(short_help="Check every file, table and offset against the records.")
def validate(folder: RunFolder) -> None:
    """Check every committed file's sha256, the alignment of tables, the balance and the shards' offsets."""
    from jobs.pipeline import TABLES
    from jobs.validate import problems

    found = list(problems(_existing(folder), [table for _, table in TABLES]))
    for line in found:
        print(line)
    repair = f"problems found: {len(found)}; `imageloom run ... --redo STAGE` computes a damaged table again"
    print(repair if found else "sound: every file, row and offset is as recorded")
    if found:
        raise typer.Exit(6)


@app.command("demo-data", short_help="Make the demo collection from installed packages.")
def demo_data(
    folder: Annotated[Path, typer.Argument(help="folder to make; must be empty or absent")],
    seed: Annotated[int, typer.Option(help="seed of the alterations and renders")] = 0,
) -> None:
    """Make the demo collection from packages already installed: photographs, copies, posters, digits, shapes, broken files."""
    from jobs.demo_data import make_demo_data

    counts = make_demo_data(folder, seed=seed)
    print(", ".join(f"{count} {kind}" for kind, count in counts.items()))


def _existing(folder: Path) -> Any:
    from curation.tables import Run

    found = Run(folder)
    if not found.num_parts("images"):
        raise ConfigError(f"{folder} is not a run folder: it has no images/ table; `imageloom run` makes one")
    return found


def main() -> None:
    """Run the command line; a user's mistake is one line on stderr and an exit code, not a traceback."""
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    try:
        app()
    except ImageloomError as error:
        print(f"imageloom: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except OSError as error:  # a full disk, a folder without permission: the message names the file
        print(f"imageloom: {error}", file=sys.stderr)
        sys.exit(1)
    except (KeyboardInterrupt, SystemExit) as ended:  # typer turns the first into the second
        if isinstance(ended, SystemExit) and ended.code != INTERRUPTED:
            raise
        print("imageloom: interrupted; finished parts are kept, run the same command again to continue", file=sys.stderr)
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
