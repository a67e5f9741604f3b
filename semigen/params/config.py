"""All parameters of the pipeline, with types and ranges; ``params.yaml`` mirrors them.

A section of ``params.yaml`` is a class here and, if DVC tracks it, an entry in the ``params`` of
the stages that read it. Misspelled keys and values out of range are rejected with their name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from semigen.errors import UserError
from semigen.params.base import Cron, Fraction, Section, TimeZone
from semigen.params.explain import describe_yaml_error, explain
from semigen.params.generators import (
    AutoregressiveParams,
    DiffusionParams,
    Family,
    GANParams,
    NetworkParams,
    SSGANParams,
    SSVAEParams,
    VAEParams,
    Width,
)
from semigen.params.reading import ReadParams

SAMPLES_DIR = "data/samples"
"""Folder that the ``sample`` stage writes to; tables elsewhere are the user's own."""
SAMPLE_TARGET = "label"
"""Name of the label column of the embedded data sets."""

ColumnKind = Literal["numeric", "category", "boolean", "ignore"]


PARTS = ("labeled", "unlabeled", "test")


def gathered(part: str) -> str:
    """Return the path of the table that is gathered from the sources of a part.

    Examples:
        >>> gathered("labeled")
        'data/gathered/labeled.parquet'
    """
    return f"data/gathered/{part}.parquet"


def is_sample(path: str) -> bool:
    """Return whether a table is written by the ``sample`` stage.

    Examples:
        >>> is_sample("./data/samples/test.csv"), is_sample("data/raw/test.csv")
        (True, False)
    """
    return Path(path).parts[:2] == Path(SAMPLES_DIR).parts


class SampleParams(Section):
    """The embedded data set that the ``sample`` stage splits into three tables."""

    dataset: Literal["digits", "breast_cancer", "wine"] = "digits"
    """Name of a data set that scikit-learn includes."""
    n_labeled: int = Field(50, ge=4)
    """Number of rows that keep their label, balanced over the classes."""
    test_size: Fraction = 0.2
    """Fraction of all rows used as test rows."""


class DataParams(Section):
    """The tables. Paths are relative to the project's folder;
    docs/how-to/own-data.md lists the formats.

    Examples:
        >>> DataParams().test_table
        'data/samples/test.csv'
        >>> DataParams(labeled="a.csv", unlabeled="b.csv").test_table is None
        True
    """

    labeled: str = f"{SAMPLES_DIR}/labeled.csv"
    """Table of labeled rows."""
    unlabeled: str = f"{SAMPLES_DIR}/unlabeled.csv"
    """Table of unlabeled rows; a label column in it is ignored. The labeled table itself if the
    unlabeled rows are its rows without a label, or if there are none."""
    test: str = f"{SAMPLES_DIR}/test.csv"
    """Table of test rows. If ``labeled`` is your own table and this is the default (or equal to
    ``labeled``), the test rows are split off the labeled table, stratified by class."""
    target: str = "label"
    """Name of the label column."""
    test_size: Fraction = 0.2
    """Fraction of the labeled rows used as test rows if there is no test table."""
    random_state: int = Field(42, ge=0, lt=2**32)
    """Seed of that split."""
    kinds: dict[str, ColumnKind] = Field(default_factory=dict)
    """Kinds of columns that override the inferred ones, e.g.
    ``{zip_code: category, id: ignore}``."""
    read: ReadParams = ReadParams()
    """How text files are read, where detection is wrong."""

    @property
    def test_table(self) -> str | None:
        """Path of the test table; None if the test rows are split off the labeled table."""
        is_default_of_sample = is_sample(self.test) and not is_sample(self.labeled)
        return None if is_default_of_sample or self.test == self.labeled else self.test

    @property
    def is_one_table(self) -> bool:
        """Whether the unlabeled rows are rows of the labeled table."""
        return self.unlabeled == self.labeled

    @model_validator(mode="after")
    def _has_own_unlabeled_table(self) -> DataParams:
        if is_sample(self.unlabeled) and not is_sample(self.labeled):
            raise ValueError(
                f"labeled is your own table ({self.labeled}), but unlabeled is still the embedded "
                f"sample ({self.unlabeled}); set data.unlabeled too (to the same table if "
                "its rows without a label are the unlabeled ones)"
            )
        return self


class SourcesParams(Section):
    """Sources that ``semigen run`` gathers into one table each, before the stages. Not tracked by
    DVC, which tracks the tables.

    A source is a file, a folder of Parquet files, a pattern (``exports/2024-*.csv``), a URL
    (``https:``, ``s3:``, ``gs:`` ...) or a file with a SQL query (``rows.sql``).
    """

    labeled: tuple[str, ...] = ()
    """Sources of labeled rows; ``data.labeled`` is then ``data/gathered/labeled.parquet``."""
    unlabeled: tuple[str, ...] = ()
    """Sources of unlabeled rows, likewise."""
    test: tuple[str, ...] = ()
    """Sources of test rows, likewise."""
    database: str | None = None
    """SQLAlchemy URL of the database of queries, e.g. ``sqlite:///shop.db``. Use the environment
    variable ``SEMIGEN_DATABASE`` instead if it has a password."""


class ValidateParams(Section):
    """Tolerances of the ``validate`` stage."""

    min_rows_per_class: int = Field(2, ge=2)
    """Minimum number of labeled rows of a class; cross-validation needs two."""
    max_missing_share: float = Field(0.5, ge=0, le=1)
    """Maximum fraction of missing cells in a column; more give a warning."""
    max_unknown_share: float = Field(0.2, ge=0, le=1)
    """Maximum fraction of cells that do not fit the schema of their column, such as text among
    numbers; fewer give a warning, more an error, in predictions too."""
    max_out_of_range_share: float = Field(0.01, ge=0, le=1)
    """Maximum fraction of labeled or test values outside the range or categories of the unlabeled
    table; more give a warning of domain shift."""


class PrivacyParams(Section):
    """What models, reports and synthetic rows may reveal about single rows."""

    min_rows: int = Field(5, ge=1)
    """Minimum number of training rows behind each category, bound and quantile that a file or a
    synthetic row contains. Rarer categories are merged into one, ``(rare)``; 1 stores exact
    values."""
    sample_values: bool = False
    """Whether stored reports (validation, drift) show values of cells, as the terminal does;
    otherwise they hold counts."""
    allow_leaks: bool = False
    """Whether synthetic rows are written although rare values of real rows are among them."""


class PreprocessParams(Section):
    """Encoding of columns as numbers."""

    scaling: Literal["auto", "standard", "quantile", "minmax"] = "auto"
    """Scaler of numeric columns: zero mean and unit variance, normal quantiles, or [0, 1].
    ``auto`` is ``minmax`` if the columns share a unit, as pixels do, else ``standard``."""
    min_frequency: int = Field(5, ge=1)
    """Categories with fewer rows are grouped into one column."""
    max_categories: int = Field(50, ge=2)
    """Maximum number of one-hot columns of a category column; the rarest categories are grouped."""


class PretrainParams(Section):
    """The generative model trained on the unlabeled rows; one section for each family."""

    generator: Family = "vae"
    """Family of the model; the section with its name has its parameters."""
    vae: VAEParams = VAEParams()
    ssvae: SSVAEParams = SSVAEParams()
    gan: GANParams = GANParams()
    ssgan: SSGANParams = SSGANParams()
    diffusion: DiffusionParams = DiffusionParams()
    autoregressive: AutoregressiveParams = AutoregressiveParams()

    @property
    def chosen(self) -> NetworkParams:
        """Parameters of the selected family."""
        section = getattr(self, self.generator)
        assert isinstance(section, NetworkParams)
        return section


class AugmentParams(Section):
    """Synthetic labeled rows."""

    ratio: float = Field(10.0, ge=0, le=1000)
    """Number of synthetic rows per labeled row; 0 for none."""
    filter: Literal["agreement", "none"] = "agreement"
    """``agreement`` accepts a synthetic row only if a labels-only classifier predicts the class
    that the row was drawn for; rejected rows are drawn again, a limited number of times."""


class SearchParams(Section):
    """Hyperparameter search for further learners."""

    trials: int = Field(0, ge=0, le=10_000)
    """Number of trials; 0 disables the search."""
    time_budget_s: float = Field(300.0, gt=0)
    """CPU seconds after which no further trial starts."""


class TrainParams(Section):
    """Learners and their selection."""

    folds: int = Field(4, ge=2, le=20)
    """Number of cross-validation folds on the labeled rows; fewer if the smallest class has fewer
    rows."""
    repeats: int = Field(2, ge=1, le=50)
    """Number of repetitions of the cross-validation with different folds."""
    hidden_dims: tuple[Width, ...] = (128, 64)
    """Widths of the hidden layers of the neural classifier."""
    epochs: int = Field(50, ge=1)
    """Number of epochs of the neural classifier."""
    batch_size: int = Field(32, ge=2)
    """Batch size of the neural classifier."""
    learning_rate: float = Field(1e-3, gt=0, le=1)
    """Learning rate of Adam."""
    n_neighbors: int = Field(7, ge=1, le=200)
    """Number of neighbors in the graph of label spreading."""
    max_rows_graph: int = Field(8000, ge=10)
    """Maximum number of unlabeled rows in that graph, and in other learners whose time and memory
    grow faster than the number of rows."""
    min_gain_probability: float = Field(0.95, ge=0, le=1)
    """Minimum probability, estimated on the labeled rows, that unlabeled rows reduce the log loss.
    Below it the classifier falls back to labels only. 0 always uses unlabeled rows, 1 almost
    never."""
    time_budget_s: float = Field(600.0, gt=0)
    """CPU seconds of cross-validation, of the process and its children, after which no further
    learner is tried. A busy machine does not change the result, a slower one may: the result says
    so if learners were left out."""
    extra_learners: tuple[Literal["consistency", "adversarial"], ...] = ()
    """Further learners: networks trained to predict consistently on noisy unlabeled rows
    (``consistency``), or also on adversarially perturbed rows (``adversarial``). They are slow, and
    did not improve the committee on the ten tables of the benchmark."""
    search: SearchParams = SearchParams()
    """Hyperparameter search for further learners; disabled by default."""


class EvaluateParams(Section):
    """Confidence intervals of the test metrics."""

    n_bootstrap: int = Field(2000, ge=100, le=100_000)
    """Number of bootstrap resamples of the test rows."""
    confidence: float = Field(0.95, gt=0.5, lt=1)
    """Coverage of the intervals."""


class ComputeParams(Section):
    """Hardware. Not tracked by DVC: changes rerun nothing."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Device that trains networks; ``auto`` uses a GPU if there is one."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Numeric precision; ``auto`` uses bf16 for networks and batches that are large enough to
    benefit."""
    threads: int = Field(0, ge=0)
    """Number of threads of a process; 0 divides the available cores by the number of processes."""
    processes: int = Field(0, ge=0)
    """Number of processes that train one network together; 0 starts one for each GPU. They share
    the rows in memory and divide each batch, so the result is that of one process up to rounding
    and noise."""
    memory_limit: float | None = Field(None, gt=0)
    """Memory of a stage in GiB. A stage whose estimate exceeds it is refused before it starts; null
    only states the estimates."""
    checkpoint_seconds: float = Field(30.0, gt=0)
    """Minimum time between two checkpoints of a network in training, in seconds."""
    require_gpu: bool = False
    """Whether stages marked for GPU workers must run on one; otherwise they run locally if there is
    no worker."""
    gpu_wait_seconds: float = Field(0.0, ge=0)
    """Timeout of waiting for a GPU worker, in seconds, if ``require_gpu`` is set."""
    workspace: Literal["shared", "clone"] = "shared"
    """``shared``: GPU workers use the project's folder. ``clone``: they exchange files through git
    and the DVC remote only."""


class PromoteParams(Section):
    """Conditions under which a new model replaces the champion. Not tracked by DVC."""

    metric: Literal["auto", "accuracy", "balanced_accuracy", "macro_f1", "log_loss"] = "auto"
    """Metric that champion and challenger are compared by, on the same test rows. ``auto``:
    balanced accuracy if the largest class has more than five times the test rows of the smallest,
    else accuracy."""
    tolerance: float = Field(0.02, ge=0)
    """Tolerated loss against the champion: a challenger that scores lower is promoted if the
    interval of the difference stays within it."""
    min_test_rows: int = Field(30, ge=2)
    """Minimum number of test rows that the champion was not trained on."""
    fairness_columns: tuple[str, ...] = ()
    """Columns whose values define groups to compare, e.g. ``[sex, region]``."""
    max_fairness_gap: float = Field(0.1, ge=0, le=1)
    """Maximum difference in accuracy between groups; fails if the interval lies above it."""
    max_drift: float = Field(0.8, ge=0.5, le=1)
    """Maximum ROC AUC of separating labeled from unlabeled rows; fails if the interval lies above
    it."""


class MonitorParams(Section):
    """The ``monitor`` deployment, which watches the tables. Not tracked by DVC."""

    cron: Cron | None = "*/15 * * * *"
    """Schedule, in the time zone of ``retrain``; null: only by hand."""
    input: str | None = None
    """Table of new rows to check for drift; null: only checks whether the tables have changed."""
    max_distance: Fraction = 0.2
    """Distance (Kolmogorov-Smirnov, total variation) above which a column may have drifted."""
    significance: float = Field(0.01, gt=0, lt=1)
    """Probability of a false alarm per check, over all columns."""


class RetrainParams(Section):
    """The ``train`` deployment, which retrains. Not tracked by DVC."""

    cron: Cron | None = "0 3 * * *"
    """Schedule, five fields as in crontab; null: only by hand and by ``monitor``. A run without
    changed inputs ends after a few seconds."""
    timezone: TimeZone = "UTC"
    """Time zone of the schedules, e.g. ``Europe/Berlin``."""
    on_drift: bool = True
    """Whether ``monitor`` starts a run if it detects drift."""
    on_new_data: bool = True
    """Whether ``monitor`` starts a run if the tables have changed."""
    commit: bool = False
    """Whether a run commits ``dvc.lock`` and the metrics to git, and pushes the DVC cache."""


class Params(Section):
    """All parameters of a run.

    Examples:
        >>> params = Params(seed=7, pretrain=PretrainParams(generator="gan"))
        >>> params.pretrain.chosen.batch_size
        256
    """

    seed: int = Field(42, ge=0, lt=2**32)
    """Random seed of all stages; ``data.random_state`` is the seed of the test split."""
    sample: SampleParams = SampleParams()
    data: DataParams = DataParams()
    sources: SourcesParams = SourcesParams()
    validate_: ValidateParams = Field(ValidateParams(), alias="validate")
    privacy: PrivacyParams = PrivacyParams()
    preprocess: PreprocessParams = PreprocessParams()
    pretrain: PretrainParams = PretrainParams()
    augment: AugmentParams = AugmentParams()
    train: TrainParams = TrainParams()
    evaluate: EvaluateParams = EvaluateParams()
    promote: PromoteParams = PromoteParams()
    monitor: MonitorParams = MonitorParams()
    retrain: RetrainParams = RetrainParams()
    compute: ComputeParams = ComputeParams()

    @classmethod
    def load(cls, path: str | Path = "params.yaml") -> Params:
        """Read and validate a parameter file.

        Args:
            path: YAML file; parameters that it omits have their defaults.

        Raises:
            UserError: If the file cannot be read, or a key or value is invalid. The message names
                each invalid parameter, what is allowed, and the closest known name.
        """
        path = Path(path)
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise UserError(f"{path}: cannot read parameters: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise UserError(f"{path}: not UTF-8 text; save the file as UTF-8") from error
        except yaml.YAMLError as error:
            raise UserError(f"{path}: not valid YAML: {describe_yaml_error(error)}") from error
        if content is not None and not isinstance(content, dict):
            raise UserError(f"{path}: must be a valid dictionary of parameters")
        try:
            return cls.model_validate(content or {})
        except ValidationError as error:
            raise UserError(f"{path}: {explain(error, cls)}") from error
