"""Sections of how copies are found: neighbours, the similarity graph, the second look, groups, keepers, placeholders."""

from typing import Literal

from pydantic import Field, field_validator

from jobs.config_section import Section


class DedupConfig(Section):
    """How copies are recognised."""

    method: Literal["verified", "fast", "similarity"] = Field(
        "verified",
        description="verified: near neighbours, then a second look at pixels and keypoints; fast: hashes and embeddings alone; "
        "similarity: every pair of a calibrated copy-detection embedder above a threshold, for the largest collections",
    )


class KnnConfig(Section):
    """Nearest neighbours: the candidates of deduplication."""

    k: int = Field(20, ge=1, description="neighbours per image")
    min_similarity: float = Field(0.0, ge=-1, le=1, description="cosine below which a neighbour is no candidate")
    engine: Literal["auto", "exact", "ivf", "faiss"] = Field(
        "auto", description="exact up to 200,000 images, IVF beyond; faiss: the index that `factory` names"
    )
    centre: bool = Field(True, description="subtract the collection's mean vector before searching")
    nlist: int | None = Field(None, ge=1, description="IVF lists; default: from the number of images")
    nprobe: int = Field(8, ge=1, description="IVF lists searched per query")
    factory: str = Field("Flat", description="engine faiss: index by FAISS factory string, e.g. HNSW32 or IVF1024,Flat")
    memory_mb: int = Field(512, ge=16, description="engine ivf: memory of one worker that sorts vectors into lists")


class HierarchyConfig(Section):
    """Semantic levels of the k-NN graph, for balancing communities and for finding gaps; methods verified and fast."""

    resolutions: list[float] = Field(
        [1.0, 4.0, 16.0],
        min_length=3,
        max_length=3,
        description="modularity resolutions of hierarchy.level_0 to level_2, increasing: more is finer",
    )
    max_images: int = Field(
        500_000,
        ge=1,
        description="images above which the levels join lists of vectors instead of images: memory for a million is 5 GB",
    )

    @field_validator("resolutions")
    @classmethod
    def _increasing(cls, resolutions: list[float]) -> list[float]:
        if not 0 < resolutions[0] < resolutions[1] < resolutions[2]:
            raise ValueError(f"{resolutions} must be three increasing positive numbers, the coarsest level first")
        return resolutions


class JoinConfig(Section):
    """The similarity graph of `dedup.method: similarity`: all pairs of embeddings above a threshold."""

    engine: Literal["auto", "exact", "ivf", "faiss"] = Field(
        "auto",
        description="exact: every pair is compared, up to 200,000 images; ivf: lists of near vectors, beyond; "
        "faiss: the nearest k by a FAISS index, for comparison",
    )
    min_similarity: float = Field(0.7, ge=-1, le=1, description="cosine from which two images are joined by an edge")
    nlist: int | None = Field(None, ge=1, description="ivf: number of lists; default: from the number of images")
    nprobe: int = Field(5, ge=1, description="ivf: most lists in which an image looks for its like; more finds more")
    margin: float = Field(
        0.13, ge=0, le=2, description="ivf: lists whose centroid is less similar than the nearest one by more are not probed"
    )
    two_level: bool | None = Field(None, description="ivf: a quantiser of two levels; default: from 1,000 lists on")
    descend: int = Field(8, ge=1, description="ivf: most cells of a two-level quantiser whose lists are considered")
    dtype: Literal["auto", "bf16", "int8", "fp32"] = Field(
        "auto",
        description="format of the first comparison; what it finds is computed again in float32, so the result is the same; "
        "auto: bf16 where the CPU multiplies it natively",
    )
    memory_mb: int = Field(512, ge=16, description="memory of one worker's vectors, whatever the number of images")
    device: str = Field(
        "auto",
        description="exact and ivf: auto (a GPU if the worker has one), cpu, cuda, cuda:<n>; see ray.gpus: {lists: 1, join: 1}. "
        "A GPU adds in another order: cosines may differ in the last bits",
    )
    factory: str = Field("Flat", description="faiss: index by FAISS factory string, e.g. IVF1024,Flat or HNSW32")
    k: int = Field(100, ge=1, description="faiss: neighbours per image; pairs beyond them are missed")


class EdgeConfig(Section):
    """Candidate pairs that only perceptual hashes propose, beside the nearest neighbours; not for `dedup.method: similarity`."""

    max_hash_distance: int = Field(
        31, ge=0, le=128, description="differing bits of two PDQ hashes, in the best of eight orientations"
    )
    min_hash_quality: int = Field(50, ge=0, le=100, description="PDQ's measure of structure below which a hash proposes nothing")
    hash_neighbours: int = Field(8, ge=0, description="nearest hashes looked at per image and orientation; 0: none")


class KeypointConfig(Section):
    """Local features for the second look."""

    max_side_px: int = Field(384, ge=64, description="long side of the picture that is compared")
    keypoint_side_px: int = Field(256, ge=64, description="long side at which keypoints are found; sets the cost")
    min_side_px: int = Field(68, ge=16, description="pictures with a shorter side are compared whole, without keypoints")
    max_keypoints: int = Field(250, ge=16, description="strongest keypoints kept per image")


class VerifyConfig(Section):
    """The second look at candidate pairs: hashes, aligned pixels, keypoints with a geometric model."""

    pairs_per_item: int = Field(4096, ge=1, description="candidate pairs per unit of work")
    min_similarity: float = Field(
        0.3, ge=-1, le=1, description="cosine below which a pair is different unless its hashes agree; it is not looked at"
    )
    max_sure_distance: int = Field(24, ge=-1, le=128, description="differing bits up to which photographs need no look; -1: none")
    min_sure_similarity: float = Field(0.7, ge=-1, le=1, description="cosine that such a pair needs as well")
    min_inliers: int = Field(8, ge=4, description="keypoint matches that must agree on one geometric model")
    min_agreement: float = Field(0.75, ge=0, le=1, description="share of textured pixels that must correlate once aligned")
    min_agreement_flat: float = Field(0.9, ge=0, le=1, description="the same for drawn graphics and documents")
    min_worst_cell_flat: float = Field(
        0.85, ge=0, le=1, description="the same in each cell of an 8 x 8 grid that holds anything, for drawn graphics"
    )
    min_drawn: float = Field(
        0.57, ge=0, le=1, description="share of plain pixels from which a pair counts as drawn graphics or documents"
    )
    min_inliers_perspective: int = Field(20, ge=8, description="keypoint matches that must agree on a perspective map")
    min_copy_coverage: float = Field(
        0.4, ge=0, le=1, description="share of either picture that a copy shows; a smaller crop is `contained`"
    )
    min_overlap_coverage: float = Field(
        0.5, ge=0, le=1, description="the same where neither lies inside the other, as in neighbouring crops of one scene"
    )
    min_contained_coverage: float = Field(0.8, ge=0, le=1, description="share of the smaller picture that a container shows")
    min_identity: float = Field(0.997, ge=0, le=1, description="grey correlation that small or plain pictures need to be copies")
    min_colour_identity: float = Field(0.992, ge=0, le=1, description="the same in colour")
    min_agreement_overlaid: float = Field(
        0.5,
        ge=0,
        le=1,
        description="share of textured pixels that must correlate where a photograph lies on itself, corner on corner, under "
        "text, a watermark or a sticker",
    )
    min_inliers_overlaid: int = Field(
        60, ge=8, description="keypoint matches that such a pair needs; a third of them where the thumbnails correlate at .8"
    )
    max_recoloured: float = Field(
        0.25, ge=0, le=1, description="share of colours that may be of another hue in a copy; 1: hue says nothing"
    )
    min_filled: float = Field(
        0.4, ge=0, le=1, description="share that a few flat colours fill, from which a pair is drawn: charts, icons, flags, text"
    )
    max_deviation: float = Field(
        18.0, ge=0, description="difference in colour, of 255, that aligned drawings may show in any 9 x 9 px; above: not a copy"
    )
    min_keypoints_graphic: int = Field(
        60, ge=0, description="a drawing with fewer keypoints is a copy only upright and at its own size: arrows point somewhere"
    )
    min_exchanged: float = Field(
        2.0,
        ge=0.5,
        description="grey levels by which a window must differ both ways, with ink of one style in both pictures, from which a "
        "numeral, word or mark counts as exchanged and the pair as different; 255: never",
    )


class FastConfig(Section):
    """Verdicts of `dedup.method: fast`, from hashes and embeddings alone."""

    pairs_per_item: int = Field(100_000, ge=1, description="candidate pairs per unit of work")
    max_distance: int = Field(67, ge=0, le=128, description="differing bits of two PDQ hashes, in the best of eight orientations")
    max_distance_flat: int = Field(20, ge=0, le=128, description="the same between two flat graphics: windows, pages, posters")
    min_flatness: float = Field(0.5, ge=0, le=1, description="metrics.flatness from which an image is a flat graphic")
    min_similarity: float = Field(0.47, ge=-1, le=1, description="cosine that a copy needs")
    min_quality: int = Field(30, ge=0, le=100, description="PDQ's measure of structure below which a hash says nothing")


class ComponentConfig(Section):
    """Connected components: what can belong together at all, and how it is divided into units of work."""

    min_similarity: float = Field(
        0.8, ge=-1, le=1, description="method similarity: cosine from which an edge connects; at least join.min_similarity"
    )
    images_per_item: int = Field(500_000, ge=1, description="images of the collection per unit of work")
    giant_size: int = Field(10_000, ge=2, description="larger components are reported: a threshold too low, or a placeholder")


class CommunityConfig(Section):
    """Groups of copies inside the components."""

    method: Literal["igraph", "leidenalg", "components"] = Field("igraph", description="Leiden by igraph or leidenalg, or none")
    resolution: float = Field(
        0.3, gt=0, le=1, description="verified pairs: CPM gamma, the mean confidence between the members of a group"
    )
    accepted_similarity: float = Field(
        0.7, gt=0, le=1, description="method similarity: CPM gamma, the mean cosine between the members of a group"
    )
    keeper_similarity: float = Field(
        0.75, gt=0, le=1, description="method similarity: least cosine of a dropped image to the one that stands for it"
    )
    sure_similarity: float = Field(
        0.86, gt=0, le=1, description="method similarity: cosine from which two images are copies whatever else they share"
    )
    max_partial: float = Field(
        0.33,
        ge=0,
        le=1,
        description="method similarity: images below sure_similarity that have more in common than their keeper explains, by "
        "mean partial correlation, are pictures of one kind and no copies; 1 trusts the cosine alone",
    )
    max_dense: int = Field(3000, ge=2, description="method similarity: larger components are divided by the join's cosines")


class DuplicateConfig(Section):
    """Which image of a group stays."""

    keeper: list[
        Literal[
            "resolution", "tones", "compression", "borders", "enlargement", "grain", "consensus", "caption", "clipping", "noise",
            "detail", "pixels", "quantisation", "bytes", "bits", "sharpness", "source", "watermark", "aesthetics",
        ]
    ] = Field(
        [
            "tones", "compression", "resolution", "enlargement", "consensus", "caption", "detail", "borders", "grain", "clipping",
            "noise", "pixels", "quantisation", "bytes",
        ],
        description="criteria in order, each up to a tolerance: tones (no palette), compression (JPEG or WebP below quality 70, "
        "also if saved again since), resolution (sides that hold detail), enlargement (no pixels without detail), consensus "
        "(in the midst of the copies), caption (the source has one), detail (as resolution, finer), borders (no ground of one "
        "colour around it), grain (less noise or sharpening than the detail explains), clipping (few pixels at the ends of the "
        "scale), noise, pixels, quantisation (as compression, finer), bytes (the smaller file); or bits (encoded bits per "
        "pixel), sharpness, source (place of the group in source_priority), watermark "
        "(scores.watermark, the less the better), aesthetics (scores.aesthetics); the id is the last tie-break",
    )  # fmt: skip
    rekey_base: bool = Field(False, description="with `base`: choose keepers anew among old and new images; else old ones stay")
    source_priority: list[str] = Field([], description="sub-collections whose images stay before others', most trusted first")


class PlaceholderConfig(Section):
    """Naming pictures that stand where others should, such as "image not available"; a rule on placeholders.reason drops them."""

    min_size: int = Field(10, ge=2, description="a group has at least so many images")
    min_share: float = Field(0.001, ge=0, le=1, description="and at least so large a share of all images")
    min_caption_share: float = Field(
        0.3, ge=0, le=1, description="captions are evidence where so large a share of the group has one"
    )
