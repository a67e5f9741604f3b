"""Parameters of the generative models, a section a family, and of how they are trained."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from semigen.section import Fraction, Section

Width = Annotated[int, Field(ge=1, le=8192)]
Family = Literal["vae", "ssvae", "gan", "ssgan", "diffusion", "autoregressive"]


class NetworkParams(Section):
    """How a network is trained; the families have defaults of their own."""

    epochs: int = Field(60, ge=1)
    """Most passes over the rows."""
    max_steps: int = Field(10_000, ge=1)
    """Most steps; a large table is passed over less often."""
    batch_size: int = Field(64, ge=2)
    """Rows of one step."""
    learning_rate: float = Field(3e-3, gt=0, le=1)
    """Adam's step size at the start; it falls to zero along a half cosine."""
    validation_size: Fraction = 0.1
    """Share of the rows held out of training: for early stopping, for typical scores, and as the
    rows that synthetic ones must not be farther from than from the training rows."""

    def n_epochs(self, n_rows: int) -> int:
        """Return how often ``n_rows`` rows are passed over within ``max_steps``."""
        steps = -(-n_rows // self.batch_size)
        return min(self.epochs, max(1, self.max_steps // steps))


class VAEParams(NetworkParams):
    """M1 of Kingma et al. (2014) with a likelihood per column."""

    latent_dim: int = Field(16, ge=1, le=1024)
    """Dimensions of the latent code."""
    hidden_dims: tuple[Width, ...] = (512, 256)
    """Widths of the encoder's hidden layers; the decoder mirrors them."""
    noise_scale: Literal["auto", "column", "shared"] = "auto"
    """Whether every numeric column has a noise scale of its own, or all share one. ``auto`` shares
    it where the columns share a unit."""
    beta: float = Field(1.0, ge=0)
    """Weight of the KL term; 1 is the ELBO."""
    free_bits: float = Field(0.0, ge=0)
    """Nats of each latent dimension's KL that cost nothing (Kingma et al. 2016)."""
    warmup_epochs: int = Field(10, ge=0)
    """Epochs over which ``beta`` rises from 0."""
    patience: int = Field(20, ge=1)
    """Epochs without a better held-out loss after which training stops."""


class SSVAEParams(NetworkParams):
    """Semi-supervised VAEs: M2 and M1+M2 (Kingma et al. 2014), SDGM (Maaløe et al. 2016)."""


class GANParams(NetworkParams):
    """Conditional tabular GAN."""


class SSGANParams(NetworkParams):
    """Semi-supervised GAN with feature matching (Salimans et al. 2016)."""

    epochs: int = Field(100, ge=1)
    """Most passes over the rows."""
    max_steps: int = Field(2_000, ge=1)
    """Most steps; a large table is passed over less often."""
    batch_size: int = Field(128, ge=2)
    """Rows of one step."""
    learning_rate: float = Field(3e-3, gt=0, le=1)
    """Adam's step size in the first half of the training; then it falls to zero along a line."""
    generator_rate: float = Field(1.0, gt=0)
    """Factor on the step size for the generator."""
    latent_dim: int = Field(32, ge=1, le=1024)
    """Dimensions of the generator's code."""
    hidden_dims: tuple[Width, ...] = (256, 128, 128)
    """Widths of the discriminator's hidden layers; the last one gives the features."""
    generator_dims: tuple[Width, ...] = (128, 128)
    """Widths of the generator's hidden layers."""
    input_noise: float = Field(0.3, ge=0)
    """Standard deviation of the noise on the discriminator's input in training."""
    hidden_noise: float = Field(0.5, ge=0)
    """Standard deviation of the noise on its hidden layers."""
    consistency: float = Field(1.0, ge=0)
    """Weight of predicting the same with noise as without; 0 gives the paper's loss."""
    class_matching: float = Field(1.0, ge=0)
    """Weight of matching each class's mean features beside those of all rows."""


class DiffusionParams(NetworkParams):
    """Tabular diffusion model."""


class AutoregressiveParams(NetworkParams):
    """Autoregressive network over discretised columns."""
