"""Images as an autoencoder's latents, of which a diffusion transformer makes its tokens."""

from __future__ import annotations

from dataclasses import dataclass

from genz.specs.media.passes import Passes, refuse_image

# Positions are computed for any grid; beyond this it is a slip of the pen.
MAX_GRID = 1024


@dataclass(frozen=True)
class LatentGrid:
    """A latent is `factor` pixels wide and high, a token `patch` latents; the model was trained on `side` latents."""

    factor: int
    patch: int
    side: int

    @property
    def pixels(self) -> int:
        """Pixels on a side of a token."""
        return self.factor * self.patch

    @property
    def native(self) -> tuple[int, int]:
        return self.side * self.factor, self.side * self.factor

    @property
    def most_tokens(self) -> int:
        """Tokens of the largest image."""
        return MAX_GRID**2

    def passes(self, width: int, height: int) -> Passes:
        most = MAX_GRID * self.pixels
        if width % self.pixels or height % self.pixels or max(width, height) > most:
            raise refuse_image(width, height, allowed=f"sides that are multiples of {self.pixels} pixels, up to {most:,}")
        return Passes((), (width // self.pixels) * (height // self.pixels))
