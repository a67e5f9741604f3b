"""Parameters: every one once, typed, ranged and documented; ``params.yaml`` mirrors them.

A section of ``params.yaml`` is a class here and, where DVC tracks it, an entry in the ``params`` of
the stages that read it. A misspelt key or a value out of range is refused by name.
"""

from __future__ import annotations

import difflib
import zoneinfo
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    ValidationError,
    model_validator,
)

from semigen.errors import UserError
from semigen.params.base import Fraction, Section
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

SAMPLES_DIR = "data/samples"
"""Where the ``sample`` stage writes; tables elsewhere are the user's own."""

ColumnKind = Literal["numeric", "category", "boolean", "ignore"]


def _checked_cron(value: str) -> str:
    if len(value.split()) != 5:  # Prefect, which reads them, says what is wrong with a field
        raise ValueError("must be five fields as in crontab, e.g. '0 3 * * *' for daily at 3:00")
    return value


def _checked_time_zone(value: str) -> str:
    if value not in zoneinfo.available_timezones():
        raise ValueError("must be a time zone, e.g. 'UTC' or 'Europe/Berlin'")
    return value


Cron = Annotated[str, AfterValidator(_checked_cron)]
TimeZone = Annotated[str, AfterValidator(_checked_time_zone)]


def is_sample(path: str) -> bool:
    """Return whether a table is one that the ``sample`` stage writes."""
    return Path(path).parts[:2] == Path(SAMPLES_DIR).parts


class SampleParams(Section):
    """The embedded data set that the ``sample`` stage cuts into three tables."""

    dataset: Literal["digits", "breast_cancer", "wine"] = "digits"
    """Which of scikit-learn's real data sets to use."""
    n_labeled: int = Field(50, ge=4)
    """Rows that keep their label, spread evenly over the classes."""
    test_size: Fraction = 0.2
    """Share of all rows set aside as test rows."""


class DataParams(Section):
    """Where the tables are. Paths are relative to the project's root; CSV or Parquet."""

    labeled: str = f"{SAMPLES_DIR}/labeled.csv"
    """Table of labeled rows."""
    unlabeled: str = f"{SAMPLES_DIR}/unlabeled.csv"
    """Table of unlabeled rows; a target column in it is ignored."""
    test: str = f"{SAMPLES_DIR}/test.csv"
    """Table of test rows. Left at the default (or equal to ``labeled``) when ``labeled`` is the
    user's own, the test rows are split off the labeled table, stratified by class."""
    target: str = "label"
    """Name of the label column."""
    test_size: Fraction = 0.2
    """Share of the labeled rows that become test rows when there is no test table."""
    random_state: int = Field(42, ge=0, lt=2**32)
    """Seed of that split."""
    kinds: dict[str, ColumnKind] = Field(default_factory=dict)
    """Column kinds that inference should not decide, e.g. ``{zip_code: category, id: ignore}``."""

    @property
    def test_table(self) -> str | None:
        """Path of the test table, or None when test rows are split off the labeled table."""
        is_left_over = is_sample(self.test) and not is_sample(self.labeled)
        return None if is_left_over or self.test == self.labeled else self.test

    @model_validator(mode="after")
    def _names_own_unlabeled_table(self) -> DataParams:
        if is_sample(self.unlabeled) and not is_sample(self.labeled):
            raise ValueError(
                f"labeled is your own table ({self.labeled}) while unlabeled still names the "
                f"embedded sample ({self.unlabeled}); set data.unlabeled too"
            )
        return self


class ValidateParams(Section):
    """What the ``validate`` stage tolerates."""

    min_rows_per_class: int = Field(2, ge=2)
    """Fewest labeled rows of a class; cross-validation needs two."""
    max_missing_share: float = Field(0.5, ge=0, le=1)
    """Share of missing cells in a column above which a warning is given."""
    max_out_of_range_share: float = Field(0.01, ge=0, le=1)
    """Share of labeled or test values outside the range or categories of the unlabeled table above
    which a warning of domain shift is given."""


class PreprocessParams(Section):
    """How columns become numbers."""

    scaling: Literal["auto", "standard", "quantile", "minmax"] = "auto"
    """Scaler of numeric columns: zero mean and unit variance, normal quantiles, or [0, 1].
    ``auto`` takes ``minmax`` where the columns share a unit, as pixels do, else ``standard``."""
    min_frequency: int = Field(5, ge=1)
    """Categories rarer than this share one column."""
    max_categories: int = Field(50, ge=2)
    """Most one-hot columns of one category column; the rarest categories share one."""


class PretrainParams(Section):
    """The generative model that is trained on the unlabeled rows; a section for each family."""

    generator: Family = "vae"
    """Model family; its parameters are in the section of its name."""
    vae: VAEParams = VAEParams()
    ssvae: SSVAEParams = SSVAEParams()
    gan: GANParams = GANParams()
    ssgan: SSGANParams = SSGANParams()
    diffusion: DiffusionParams = DiffusionParams()
    autoregressive: AutoregressiveParams = AutoregressiveParams()

    @property
    def chosen(self) -> NetworkParams:
        """Parameters of the chosen family."""
        section = getattr(self, self.generator)
        assert isinstance(section, NetworkParams)
        return section


class AugmentParams(Section):
    """Synthetic labeled rows."""

    ratio: float = Field(10.0, ge=0, le=1000)
    """Synthetic rows per labeled row; 0 makes none."""
    filter: Literal["agreement", "none"] = "agreement"
    """``agreement`` keeps a row only if a labels-only classifier gives it the class it was drawn
    for; rows that fail are drawn again, a limited number of times."""


class SearchParams(Section):
    """A search for better learners than those with default settings."""

    trials: int = Field(0, ge=0, le=10_000)
    """Settings tried; 0 makes no search."""
    time_budget_s: float = Field(300.0, gt=0)
    """Seconds after which no further one is tried."""


class TrainParams(Section):
    """Classifiers and how much each of them counts."""

    folds: int = Field(4, ge=2, le=20)
    """Cross-validation folds on the labeled rows, fewer where the smallest class has fewer."""
    repeats: int = Field(2, ge=1, le=50)
    """How often the folds are drawn anew."""
    hidden_dims: tuple[Width, ...] = (128, 64)
    """Hidden layers of the neural classifier."""
    epochs: int = Field(50, ge=1)
    """Passes over the training rows of the neural classifier."""
    batch_size: int = Field(32, ge=2)
    """Rows of one step of the neural classifier."""
    learning_rate: float = Field(1e-3, gt=0, le=1)
    """Adam's step size."""
    n_neighbors: int = Field(7, ge=1, le=200)
    """Neighbors of the graph on which labels spread."""
    max_rows_graph: int = Field(8000, ge=10)
    """Most unlabeled rows in that graph, and in other learners that hold all rows at once: time
    and memory grow faster than their number."""
    min_gain_probability: float = Field(0.95, ge=0, le=1)
    """How sure the labeled rows must be that unlabeled ones help: with a lower probability of less
    log loss than labels alone, the classifier falls back to these. 0 always uses unlabeled rows,
    1 nearly never."""
    time_budget_s: float = Field(600.0, gt=0)
    """Seconds of comparing learners after which no further one is tried. Equal runs are only equal
    if it does not run out."""
    extra_learners: tuple[Literal["consistency", "adversarial"], ...] = ()
    """Further learners: networks that are consistent on noisy unlabeled rows, or on rows moved in
    the worst direction as well. They take time, and over the ten tables of the benchmark the
    committee was as good without them."""
    search: SearchParams = SearchParams()
    """A search for further learners; the default needs none."""


class EvaluateParams(Section):
    """How the figures of the test rows get their intervals."""

    n_bootstrap: int = Field(2000, ge=100, le=100_000)
    """Bootstrap resamples of the test rows."""
    confidence: float = Field(0.95, gt=0.5, lt=1)
    """Coverage of the intervals."""


class ComputeParams(Section):
    """The machine. Not tracked by DVC: a change here reruns nothing."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where networks are trained; ``auto`` takes a GPU if there is one."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """``auto`` takes bf16 for networks and batches that are wide enough to gain from it."""
    threads: int = Field(0, ge=0)
    """Threads of one process; 0 takes every core that the process may use."""
    processes: int = Field(0, ge=0)
    """Processes that share the training of a network; 0 starts one for each GPU."""
    checkpoint_seconds: float = Field(30.0, gt=0)
    """Least time between two checkpoints of a network in training."""
    require_gpu: bool = False
    """Whether a stage that wants a GPU worker must have one; else it runs in place without."""
    gpu_wait_seconds: float = Field(0.0, ge=0)
    """How long such a stage waits for a worker before it fails, if ``require_gpu``."""
    workspace: Literal["shared", "clone"] = "shared"
    """``shared``: GPU workers see the project's folder; ``clone``: they have only git and the DVC
    remote."""


class PromoteParams(Section):
    """What a retrained model must show to take the champion's place. Not tracked by DVC."""

    metric: Literal["accuracy", "balanced_accuracy", "macro_f1", "log_loss"] = "accuracy"
    """What champion and challenger are compared by, on the same test rows."""
    tolerance: float = Field(0.02, ge=0)
    """How far below the champion the interval of a challenger that scores lower may reach."""
    min_test_rows: int = Field(30, ge=2)
    """Test rows needed for a comparison, those left out from which the champion learned."""
    fairness_columns: tuple[str, ...] = ()
    """Columns whose groups are compared, e.g. ``[sex, region]``."""
    max_fairness_gap: float = Field(0.1, ge=0, le=1)
    """Largest difference in accuracy between groups that may be certain."""
    max_drift: float = Field(0.8, ge=0.5, le=1)
    """Largest ROC AUC that may be certain of telling labeled rows from unlabeled ones."""


class MonitorParams(Section):
    """How the ``monitor`` deployment watches the tables. Not tracked by DVC."""

    cron: Cron | None = "*/15 * * * *"
    """When it runs, in the time zone of ``retrain``; null: only by hand."""
    input: str | None = None
    """Table of new rows that is watched for drift; null: only changes of the tables are noticed."""
    max_distance: Fraction = 0.2
    """Distance (Kolmogorov-Smirnov, total variation) above which a column may be drifting."""
    significance: float = Field(0.01, gt=0, lt=1)
    """Chance of a false alarm of one look, over all columns."""


class RetrainParams(Section):
    """When the ``train`` deployment runs by itself. Not tracked by DVC."""

    cron: Cron | None = "0 3 * * *"
    """Five fields as in crontab; null: only by hand and on events. Unchanged inputs end it soon."""
    timezone: TimeZone = "UTC"
    """Of the schedules, e.g. ``Europe/Berlin``."""
    on_drift: bool = True
    """Whether drift that ``monitor`` finds starts it."""
    on_new_data: bool = True
    """Whether changed tables that ``monitor`` finds start it."""
    commit: bool = False
    """Whether a run commits ``dvc.lock`` and metrics to git, and pushes the DVC cache."""


class Params(Section):
    """All parameters of a run."""

    seed: int = Field(42, ge=0, lt=2**32)
    """Seed of everything random but the split of the user's own table (``data.random_state``)."""
    sample: SampleParams = SampleParams()
    data: DataParams = DataParams()
    validate_: ValidateParams = Field(ValidateParams(), alias="validate")
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
        """Read and check a parameter file.

        Raises:
            UserError: If the file cannot be read, or a key or value in it is refused; the message
                names each offending parameter, what is allowed, and the nearest known name.
        """
        path = Path(path)
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise UserError(f"{path}: cannot read parameters: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise UserError(f"{path}: not UTF-8 text; save the file as UTF-8") from error
        except yaml.YAMLError as error:
            raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
        try:
            return cls.model_validate(content or {})
        except ValidationError as error:
            raise UserError(f"{path}: {explain(error, cls)}") from error


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """Return one line that names each refused parameter, its value and what is allowed."""
    lines = []
    for item in error.errors():
        name = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            lines.append(f"unknown parameter {name!r}; {_suggest(item['loc'], model)}")
        else:
            is_section = isinstance(item["input"], BaseModel | dict)
            given = "" if is_section else f", not {item['input']!r}"
            message = item["msg"].removeprefix("Value error, ").replace("Input should", "must")
            lines.append(f"{name}: {message}{given}" if name else message)
    return "; ".join(lines)


def _suggest(location: tuple[int | str, ...], model: type[BaseModel]) -> str:
    for part in location[:-1]:
        model = _section_at(model, str(part))
    names = [field.alias or name for name, field in model.model_fields.items()]
    nearest = difflib.get_close_matches(str(location[-1]), names, n=1, cutoff=0.6)
    known = f"known here: {', '.join(names)}"
    return f"did you mean {nearest[0]!r}? ({known})" if nearest else known


def _section_at(model: type[BaseModel], name: str) -> type[BaseModel]:
    field = next(f for n, f in model.model_fields.items() if name in (n, f.alias))
    annotation: Any = field.annotation
    if get_origin(annotation) in (Union, UnionType):
        annotation = next(a for a in get_args(annotation) if isinstance(a, type))
    assert issubclass(annotation, BaseModel)
    return annotation
