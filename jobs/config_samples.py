"""Sections of what a trained model is asked: samples, whether they follow their prompts, the loss of single images."""

from pydantic import Field, field_validator

from jobs.config_section import Section


class SampleConfig(Section):
    """Images from the trained model."""

    prompts: list[str] = Field(min_length=1, description="one image per prompt and seed")
    seeds_per_prompt: int = Field(1, ge=1, description="images per prompt")
    width_px: int = Field(32, ge=1, description="width of the samples")
    height_px: int = Field(32, ge=1, description="height of the samples")
    num_steps: int = Field(8, ge=1, description="Euler steps")
    guidance: float = Field(3.0, ge=1, description="w in u + w (c - u), unconditional u and conditional c; 1 is off")
    seed: int = Field(0, description="seed of the first image")


class EvaluateConfig(Section):
    """Do samples follow their prompts? A judge trained on the real captioned images says."""

    classes: dict[str, str | list[str]] = Field(
        description="class name: the phrase, or phrases, that mark it in the source captions"
    )
    prompts: dict[str, list[str]] = Field({}, description="class name: prompts to sample, used in turn; default: its phrases")
    num_samples: int = Field(200, ge=1, description="images sampled, spread evenly over the classes")
    num_edits: int = Field(
        64, ge=0, description="edits judged beside them when the model was trained on pairs, of held-out pairs if any"
    )
    num_steps: int = Field(8, ge=1, description="Euler steps")
    guidance: float = Field(3.0, ge=1, description="w in u + w (c - u), unconditional u and conditional c; 1 is off")
    seed: int = Field(0, description="seed of the first image")


class LossConfig(Section):
    """Loss of single images under the trained model, for the report and for what curates next; compare inside one t."""

    times: list[float] = Field([0.05, 0.2, 0.5, 0.8], min_length=1, description="times of the loss: 0 noise, 1 data")
    captions: int = Field(1, ge=1, description="captions per image, of those that training draws, by its weights and a hash")
    share: float = Field(1.0, gt=0, le=1, description="share of the images that is measured, by a hash of the id")
    batch_size: int = Field(64, ge=1, description="images per forward pass")
    seed: int = Field(0, description="of the noise and the hashes")

    @field_validator("times")
    @classmethod
    def _in_range(cls, times: list[float]) -> list[float]:
        if not all(0 <= t <= 1 for t in times):
            raise ValueError("every time must be in [0, 1]")
        return times
