"""Parameters of the generative models, a section a family, and of how they are trained."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from semigen.params.base import Fraction, Section

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

    epochs: int = Field(40, ge=1)
    """Most passes over the rows of M2, or of the form in its place."""
    batch_size: int = Field(128, ge=2)
    """Rows of one step. Every fold of a cross-validation trains M2; small batches take long."""
    pretrain_epochs: int = Field(60, ge=1)
    """Most passes over the rows of M1, which knows no labels."""
    form: Literal["m2", "m1m2", "sdgm", "adgm"] = "m2"
    """Generative model: M2, M2 on M1's features, or M2 with an auxiliary variable, which the rows
    depend on (skip-deep, SDGM) or not (ADGM)."""
    latent_dim: int = Field(16, ge=1, le=1024)
    """Dimensions of the latent code, of M1 and of M2."""
    auxiliary_dim: int = Field(16, ge=1, le=1024)
    """Dimensions of the auxiliary variable of SDGM and ADGM."""
    hidden_dims: tuple[Width, ...] = Field((512, 256), min_length=1)
    """Widths of the encoders' hidden layers; the decoders mirror them."""
    classifier_dims: tuple[Width, ...] = Field((256, 256), min_length=1)
    """Widths of the hidden layers of the classifier ``q(y | x)``."""
    noise_scale: Literal["auto", "column", "shared", "intensity"] = "auto"
    """Whether every numeric column has a noise scale of its own, or all share one, or they are
    intensities in [0, 1] with most values near the ends. ``auto`` shares it where the columns share
    a unit."""
    beta: float = Field(1.0, ge=0)
    """Weight of the KL term; 1 is the ELBO."""
    warmup_epochs: int = Field(10, ge=0)
    """Epochs over which ``beta`` rises from 0."""
    patience: int = Field(20, ge=1)
    """Epochs without a better held-out bound after which training stops."""
    averaging: float = Field(0.99, ge=0, lt=1)
    """Decay, per step, of the moving average of M2's weights that is kept; 0 keeps the last. It is
    lowered where the average would reach back more than a tenth of the steps."""
    max_classes: int = Field(4, ge=1)
    """Classes that ``y`` is marginalized over where it is unknown: each row's most probable ones.
    Time and memory of a step grow with it."""
    alpha: float = Field(500.0, gt=0)
    """Weight of the classification terms against the bound (Kingma et al. 2014, eq. 9)."""
    n_neighbors: int = Field(10, ge=1)
    """Neighbors of a row in the graph on M1's features that spreads the labels."""
    confident_share: float = Field(0.9, ge=0, le=1)
    """Share of the unlabeled rows, the surest, whose spread label is used."""
    guided_epochs: int = Field(5, ge=0)
    """First epochs, in which the classifier learns the spread labels; 0 spreads none."""
    smoothness: float = Field(1.0, ge=0)
    """Weight of the classifier's smoothness around every row (virtual adversarial training)."""
    radius: float = Field(0.25, gt=0)
    """Reach of that smoothness, as a share of a row's typical distance to its tenth neighbor."""
    information: float = Field(0.1, ge=0)
    """Weight of the information that the classifier gives: sure answers, classes as frequent as
    among the labels."""


class GANParams(NetworkParams):
    """Conditional tabular GAN (CTGAN, Xu et al. 2019) on codes of all columns."""

    epochs: int = Field(300, ge=1)
    """Most passes over the rows."""
    max_steps: int = Field(700, ge=1)
    """Most steps of the first training; a large table is passed over less often."""
    batch_size: int = Field(256, ge=2)
    """Rows of one step."""
    learning_rate: float = Field(1e-3, gt=0, le=1)
    """Adam's step size at the start; it falls to zero along a half cosine."""
    latent_dim: int = Field(64, ge=1, le=1024)
    """Dimensions of the generator's code."""
    hidden_dims: tuple[Width, ...] = (512, 256)
    """Widths of the critic's hidden layers; the last one gives the features."""
    generator_dims: tuple[Width, ...] = (256, 256)
    """Widths of the generator's hidden layers."""
    max_bins: int = Field(32, ge=2, le=1000)
    """Most bins of a numeric column."""
    gradient_penalty: float = Field(10.0, ge=0)
    """Weight of the penalty on the critic's slope."""
    class_share: float = Field(2.0, gt=0, le=10)
    """Length of the second training, which learns the classes, as a share of the first."""


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
    consistency_warmup: float = Field(0.5, ge=0, le=1)
    """Share of the epochs over which that weight rises from 0: predictions are poor at first."""
    n_neighbors: int = Field(10, ge=1)
    """Neighbors of a row in the graph of the rows that spreads the labels."""
    confident_share: float = Field(0.9, ge=0, le=1)
    """Share of the unlabeled rows, the surest, whose spread label is used."""
    guided_epochs: int = Field(5, ge=0)
    """First epochs, in which the discriminator learns the spread labels, with a weight that falls
    from 1 to 0; 0 spreads none."""
    smoothness: float = Field(0.0, ge=0)
    """Weight of the classifier's smoothness around every row (virtual adversarial training). With 1
    MNIST's held-out error fell from 2.6 % to 2.0 %, but spambase lost three points of accuracy."""
    radius: float = Field(0.25, gt=0)
    """Reach of that smoothness, as a share of a row's typical distance to its tenth neighbor."""
    movement: float = Field(0.0, ge=0)
    """Weight of predicting the same for rows whose values moved a little to neighboring columns,
    labeled rows moving too; which columns are neighbors, their correlations tell. For columns that
    sample a plane, such as pixels: with 1 and 30 epochs MNIST's held-out error fell from 1.7 % to
    1.2 %."""
    information: float = Field(0.1, ge=0)
    """Weight of the information that the classifier gives: sure answers, classes as frequent as
    among the labels."""
    class_matching: float = Field(1.0, ge=0)
    """Weight of matching each class's mean features beside those of all rows."""


class ClassConditionedParams(NetworkParams):
    """Networks that learn without labels first and are then told the classes."""

    batch_size: int = Field(512, ge=2)
    """Most rows of one step; a table of few rows takes a tenth of them."""
    patience: int = Field(10, ge=1)
    """Epochs without a better held-out loss after which the training without labels stops."""
    averaging: float = Field(0.99, ge=0, lt=1)
    """Decay, per step, of the moving average of the weights that is kept; 0 keeps the last. Lower
    where the average would reach back more than a tenth of the steps."""
    class_steps: int = Field(600, ge=1)
    """Steps, at least a pass, in which the network is told the classes where all rows are labeled;
    fewer where few are, unless the steps have few rows."""
    bins: int = Field(100, ge=2, le=1000)
    """Most bins of a numeric column; tables of many columns have fewer."""
    feature_dim: int = Field(32, ge=1, le=512)
    """Number of features."""


class DiffusionParams(ClassConditionedParams):
    """Flow matching over codes of all columns (Guzmán-Cordero et al. 2025)."""

    epochs: int = Field(200, ge=1)
    """Most passes over the rows."""
    max_steps: int = Field(800, ge=1)
    """Most steps without labels; a large table is passed over less often."""
    learning_rate: float = Field(2e-3, gt=0, le=1)
    """Adam's step size at the start; it falls to zero along a half cosine."""
    patience: int = Field(40, ge=1)
    """Epochs without a better held-out loss after which the training without labels stops."""
    class_steps: int = Field(800, ge=1)
    """Steps, at least a pass, in which the network is told the classes where all rows are labeled;
    fewer where few are, unless the steps have few rows."""
    hidden_dim: int = Field(512, ge=1, le=8192)
    """Width of the residual layers."""
    n_layers: int = Field(3, ge=1, le=32)
    """Residual layers."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the units that a training step leaves out."""
    sampling_steps: int = Field(24, ge=1, le=1000)
    """Steps from noise to a row; time of sampling grows with them."""


class AutoregressiveParams(ClassConditionedParams):
    """Autoregressive network over discretised columns, after TabularARGN (Tiwald et al. 2025)."""

    max_steps: int = Field(600, ge=1)
    """Most steps without labels; a large table is passed over less often."""
    learning_rate: float = Field(4e-3, gt=0, le=1)
    """Adam's step size at the start; it falls to zero along a half cosine."""
    embedding_dim: int = Field(16, ge=1, le=256)
    """Width of a code's embedding; tables of many columns have less."""
    hidden_dim: int = Field(64, ge=1, le=1024)
    """Hidden units of a column; tables of many columns have fewer."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Share of the units, and of the columns seen, that a training step leaves out."""
