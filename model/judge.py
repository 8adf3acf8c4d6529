"""A small convolutional classifier trained on real captioned images; its features are what model/fidelity.py compares."""

from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

FEATURE_DIM = 96


class Judge(nn.Module):
    """Three strided convolutions, mean pooling, one linear layer."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        widths = (3, 24, 48, FEATURE_DIM)
        layers = [
            layer
            for a, b in pairwise(widths)
            for layer in (nn.Conv2d(a, b, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU())
        ]
        self.body = nn.Sequential(*layers)
        self.mix = nn.Linear(FEATURE_DIM * 16, FEATURE_DIM)
        self.head = nn.Linear(FEATURE_DIM, num_classes)

    def features(self, images: Tensor) -> Tensor:
        """Return (B, FEATURE_DIM) for images (B, 3, H, W) in [-1, 1]."""
        pooled = F.adaptive_avg_pool2d(self.body(images), 4)
        mixed: Tensor = F.relu(self.mix(pooled.flatten(1)))
        return mixed

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, num_classes)."""
        logits: Tensor = self.head(self.features(images))
        return logits


def train_judge(images: Tensor, labels: Tensor, *, num_classes: int, seed: int, epochs: int = 10) -> Judge:
    """Return a judge fitted to images (N, 3, H, W) in [-1, 1] and labels (N,), in evaluation mode; a function of its inputs."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        judge = Judge(num_classes)
    generator = torch.Generator().manual_seed(seed)
    batch = min(64, len(images))
    steps = epochs * max(1, len(images) // batch)
    optimizer = torch.optim.AdamW(judge.parameters(), lr=2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    for step in range(steps):
        if step % max(1, len(images) // batch) == 0:
            order = torch.randperm(len(images), generator=generator)
        chosen = order[step % max(1, len(images) // batch) * batch :][:batch]
        shifted = _jitter(images[chosen], generator)
        loss = F.cross_entropy(judge(shifted), labels[chosen], label_smoothing=0.05)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
    return judge.eval()


@torch.no_grad()
def judged(judge: Judge, images: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return the most likely class (N,) and the features (N, FEATURE_DIM) of images."""
    parts = [judge.features(part) for part in images.split(256)]  # type: ignore[no-untyped-call]
    features = torch.cat(parts)
    return judge.head(features).argmax(1).numpy(), features.numpy()


def _jitter(images: Tensor, generator: torch.Generator) -> Tensor:
    """Shift each batch by up to 2 px, so that the judge learns forms and not places."""
    dy, dx = (int(x) for x in torch.randint(-2, 3, (2,), generator=generator))
    padded = F.pad(images, (2, 2, 2, 2), mode="replicate")
    height, width = images.shape[2:]
    return padded[:, :, 2 + dy : 2 + dy + height, 2 + dx : 2 + dx + width]
