"""Parameters of the generative models, one section for each family."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from semigen.params.base import Fraction, Section

Width = Annotated[int, Field(ge=1, le=8192)]
Family = Literal["vae", "ssvae", "gan", "ssgan", "diffusion", "autoregressive"]


class NetworkParams(Section):
    """Training of a network; each family has its own defaults.

    Examples:
        >>> params = NetworkParams(batch_size=100, epochs=60, max_steps=1000)
        >>> params.n_epochs(n_rows=10_000), params.steps_per_epoch(n_rows=10_000)
        (10, 100)
        >>> params.n_epochs(n_rows=10**6), params.steps_per_epoch(n_rows=10**6)
        (1, 1000)
    """

    epochs: int = Field(60, ge=1)
    """Maximum number of epochs."""
    max_steps: int = Field(10_000, ge=1)
    """Maximum number of steps; large tables get fewer epochs, or a part of one. KL warm-up and the
    other schedules of the loss become shorter in proportion."""
    batch_size: int = Field(64, ge=2)
    """Number of rows in a batch."""
    learning_rate: float = Field(3e-3, gt=0, le=1)
    """Initial learning rate of Adam; it decays to zero along a half cosine."""
    validation_size: Fraction = 0.1
    """Fraction of the rows held out of training: for early stopping, for the distribution of
    novelty scores, and as the baseline of the privacy measures."""

    def n_epochs(self, n_rows: int) -> int:
        """Return the number of epochs over ``n_rows`` rows within ``epochs`` and ``max_steps``."""
        return min(self.epochs, self.max_steps // self.steps_per_epoch(n_rows))

    def steps_per_epoch(self, n_rows: int) -> int:
        """Return the steps of an epoch: a pass over ``n_rows`` rows, but at most ``max_steps``."""
        return min(-(-n_rows // self.batch_size), self.max_steps)

    def n_steps(self, n_rows: int) -> int:
        """Return the number of steps of a training on ``n_rows`` rows."""
        return self.n_epochs(n_rows) * self.steps_per_epoch(n_rows)


class VAEParams(NetworkParams):
    """Variational autoencoder: M1 of Kingma et al. (2014), with one likelihood for each column."""

    latent_dim: int = Field(16, ge=1, le=1024)
    """Dimension of the latent code."""
    hidden_dims: tuple[Width, ...] = (512, 256)
    """Widths of the encoder's hidden layers; the decoder mirrors them."""
    noise_scale: Literal["auto", "column", "shared"] = "auto"
    """Noise scale of numeric columns: one for each ``column``, or one ``shared`` by all. ``auto``
    is ``shared`` if the columns share a unit."""
    beta: float = Field(1.0, ge=0)
    """Weight of the KL term; 1 is the ELBO."""
    free_bits: float = Field(0.0, ge=0)
    """KL of each latent dimension that is not penalized, in nats (Kingma et al. 2016)."""
    warmup_epochs: int = Field(10, ge=0)
    """Number of epochs in which ``beta`` increases from 0; at most half of ``epochs``."""
    patience: int = Field(20, ge=1)
    """Number of epochs without a lower held-out loss after which training stops."""


class SSVAEParams(NetworkParams):
    """Semi-supervised VAEs: M2, M1+M2 (Kingma et al. 2014), SDGM, ADGM (Maaløe et al. 2016)."""

    epochs: int = Field(40, ge=1)
    """Maximum number of epochs of M2 or the model in its place."""
    batch_size: int = Field(128, ge=2)
    """Number of rows in a batch. Small batches are slow: each cross-validation fold trains M2."""
    pretrain_epochs: int = Field(60, ge=1)
    """Maximum number of epochs of M1, which is trained without labels."""
    form: Literal["m2", "m1m2", "sdgm", "adgm"] = "m2"
    """Generative model: M2, M2 on the features of M1, or M2 with an auxiliary variable on which the
    rows depend (SDGM) or do not depend (ADGM)."""
    latent_dim: int = Field(16, ge=1, le=1024)
    """Dimension of the latent codes of M1 and M2."""
    auxiliary_dim: int = Field(16, ge=1, le=1024)
    """Dimension of the auxiliary variable of SDGM and ADGM."""
    hidden_dims: tuple[Width, ...] = Field((512, 256), min_length=1)
    """Widths of the encoders' hidden layers; the decoders mirror them."""
    classifier_dims: tuple[Width, ...] = Field((256, 256), min_length=1)
    """Widths of the hidden layers of the classifier ``q(y | x)``."""
    noise_scale: Literal["auto", "column", "shared", "intensity"] = "auto"
    """Noise scale of numeric columns: one for each ``column``, or one ``shared`` by all;
    ``intensity`` is for values in [0, 1], mostly near 0 or 1. ``auto`` is ``shared`` if the columns
    share a unit."""
    beta: float = Field(1.0, ge=0)
    """Weight of the KL term; 1 is the ELBO."""
    warmup_epochs: int = Field(10, ge=0)
    """Number of epochs in which ``beta`` increases from 0; at most half of ``epochs``."""
    patience: int = Field(20, ge=1)
    """Number of epochs without a better held-out bound after which training stops."""
    averaging: float = Field(0.99, ge=0, lt=1)
    """Decay per step of the moving average of M2's weights, which replaces the final weights; 0
    disables it. Lower in short trainings, so that it covers at most a tenth of the steps."""
    max_classes: int = Field(4, ge=1)
    """Maximum number of classes over which an unknown ``y`` is marginalized: the most probable ones
    of each row. Time and memory of a step grow with it."""
    alpha: float = Field(500.0, gt=0)
    """Weight of the classification terms against the bound (Kingma et al. 2014, eq. 9)."""
    n_neighbors: int = Field(10, ge=1)
    """Number of neighbors in the graph of label spreading, on the features of M1."""
    confident_share: float = Field(0.9, ge=0, le=1)
    """Fraction of the unlabeled rows, the most confident ones, whose pseudo-label is used."""
    guided_epochs: int = Field(5, ge=0)
    """Number of initial epochs in which the classifier is trained on pseudo-labels; 0 for none."""
    smoothness: float = Field(1.0, ge=0)
    """Weight of the virtual adversarial training of the classifier."""
    radius: float = Field(0.25, gt=0)
    """Radius of the adversarial perturbations, relative to the typical distance of a row to its
    tenth neighbor."""
    information: float = Field(0.1, ge=0)
    """Weight of the mutual information between rows and predicted classes: confident predictions,
    with class frequencies as among the labels."""


class GANParams(NetworkParams):
    """Conditional tabular GAN (CTGAN, Xu et al. 2019) on discretized columns."""

    epochs: int = Field(300, ge=1)
    """Maximum number of epochs."""
    max_steps: int = Field(700, ge=1)
    """Maximum number of steps of the unconditional training; large tables get fewer epochs."""
    batch_size: int = Field(256, ge=2)
    """Number of rows in a batch."""
    learning_rate: float = Field(1e-3, gt=0, le=1)
    """Initial learning rate of Adam; it decays to zero along a half cosine."""
    latent_dim: int = Field(64, ge=1, le=1024)
    """Dimension of the generator's latent code."""
    hidden_dims: tuple[Width, ...] = (512, 256)
    """Widths of the critic's hidden layers; the last layer provides the features."""
    generator_dims: tuple[Width, ...] = (256, 256)
    """Widths of the generator's hidden layers."""
    max_bins: int = Field(32, ge=2, le=1000)
    """Maximum number of bins of a numeric column."""
    gradient_penalty: float = Field(10.0, ge=0)
    """Weight of the gradient penalty of the critic."""
    class_share: float = Field(2.0, gt=0, le=10)
    """Length of the class-conditional training, relative to the unconditional training."""


class SSGANParams(NetworkParams):
    """Semi-supervised GAN with feature matching (Salimans et al. 2016)."""

    epochs: int = Field(100, ge=1)
    """Maximum number of epochs."""
    max_steps: int = Field(2_000, ge=1)
    """Maximum number of steps; large tables get fewer epochs."""
    batch_size: int = Field(128, ge=2)
    """Number of rows in a batch."""
    learning_rate: float = Field(3e-3, gt=0, le=1)
    """Learning rate of Adam in the first half of the training; then it decays linearly to zero."""
    generator_rate: float = Field(1.0, gt=0)
    """Learning rate of the generator, relative to ``learning_rate``."""
    latent_dim: int = Field(32, ge=1, le=1024)
    """Dimension of the generator's latent code."""
    hidden_dims: tuple[Width, ...] = (256, 128, 128)
    """Widths of the discriminator's hidden layers; the last layer provides the features."""
    generator_dims: tuple[Width, ...] = (128, 128)
    """Widths of the generator's hidden layers."""
    input_noise: float = Field(0.3, ge=0)
    """Standard deviation of the noise added to the discriminator's input in training."""
    hidden_noise: float = Field(0.5, ge=0)
    """Standard deviation of the noise added to the discriminator's hidden layers in training."""
    consistency: float = Field(1.0, ge=0)
    """Weight of consistency between predictions with and without noise; 0 gives the paper's
    loss."""
    consistency_warmup: float = Field(0.5, ge=0, le=1)
    """Fraction of the epochs in which that weight increases from 0."""
    n_neighbors: int = Field(10, ge=1)
    """Number of neighbors in the graph of label spreading."""
    confident_share: float = Field(0.9, ge=0, le=1)
    """Fraction of the unlabeled rows, the most confident ones, whose pseudo-label is used."""
    guided_epochs: int = Field(5, ge=0)
    """Number of initial epochs in which the discriminator is trained on pseudo-labels, with a
    weight that decreases from 1 to 0; 0 for none."""
    smoothness: float = Field(0.0, ge=0)
    """Weight of the virtual adversarial training of the classifier. With 1, the held-out error fell
    from 2.6 % to 2.0 % on MNIST, but accuracy fell by three points on spambase."""
    radius: float = Field(0.25, gt=0)
    """Radius of the adversarial perturbations, relative to the typical distance of a row to its
    tenth neighbor."""
    movement: float = Field(0.0, ge=0)
    """Weight of consistency under small shifts of values to neighboring columns, which are inferred
    from correlations; labeled rows are shifted too. For columns that sample a plane, such as
    pixels: with 1 and 30 epochs the held-out error on MNIST fell from 1.7 % to 1.2 %."""
    information: float = Field(0.1, ge=0)
    """Weight of the mutual information between rows and predicted classes: confident predictions,
    with class frequencies as among the labels."""
    class_matching: float = Field(1.0, ge=0)
    """Weight of matching the mean features of each class, besides those of all rows."""


class ClassConditionedParams(NetworkParams):
    """Networks that are trained unconditionally first, then conditioned on the class."""

    batch_size: int = Field(512, ge=2)
    """Maximum number of rows in a batch; at most a tenth of a small table's rows."""
    patience: int = Field(10, ge=1)
    """Number of epochs without a lower held-out loss after which unconditional training stops."""
    averaging: float = Field(0.99, ge=0, lt=1)
    """Decay per step of the moving average of the weights, which replaces the final weights; 0
    disables it. Lower in short trainings, so that it covers at most a tenth of the steps."""
    class_steps: int = Field(600, ge=1)
    """Number of steps of class-conditional training if all rows are labeled; fewer steps if few
    rows are labeled."""
    bins: int = Field(100, ge=2, le=1000)
    """Maximum number of bins of a numeric column; fewer in tables with many columns."""
    feature_dim: int = Field(32, ge=1, le=512)
    """Number of features that classifiers get from the network."""


class DiffusionParams(ClassConditionedParams):
    """Flow matching on discretized columns (Guzmán-Cordero et al. 2025)."""

    epochs: int = Field(200, ge=1)
    """Maximum number of epochs."""
    max_steps: int = Field(800, ge=1)
    """Maximum number of steps of unconditional training; large tables get fewer epochs."""
    learning_rate: float = Field(2e-3, gt=0, le=1)
    """Initial learning rate of Adam; it decays to zero along a half cosine."""
    patience: int = Field(40, ge=1)
    """Number of epochs without a lower held-out loss after which unconditional training stops."""
    class_steps: int = Field(800, ge=1)
    """Number of steps of class-conditional training if all rows are labeled; fewer steps if few
    rows are labeled."""
    hidden_dim: int = Field(512, ge=1, le=8192)
    """Width of the residual layers."""
    n_layers: int = Field(3, ge=1, le=32)
    """Number of residual layers."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout rate."""
    sampling_steps: int = Field(24, ge=1, le=1000)
    """Number of steps from noise to a row; sampling time is proportional to it."""


class AutoregressiveParams(ClassConditionedParams):
    """Autoregressive network on discretized columns, after TabularARGN (Tiwald et al. 2025)."""

    max_steps: int = Field(600, ge=1)
    """Maximum number of steps of unconditional training; large tables get fewer epochs."""
    learning_rate: float = Field(4e-3, gt=0, le=1)
    """Initial learning rate of Adam; it decays to zero along a half cosine."""
    embedding_dim: int = Field(16, ge=1, le=256)
    """Dimension of the embedding of a value; smaller in tables with many columns."""
    hidden_dim: int = Field(64, ge=1, le=1024)
    """Number of hidden units of a column; fewer in tables with many columns."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Dropout rate of units and of input columns."""
