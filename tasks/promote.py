"""``semigen promote``: make the newly trained classifier champion, or keep it as challenger."""

from __future__ import annotations

from dataclasses import asdict, replace

from semigen.artifacts import Layout, write_json, write_text
from semigen.classifiers.classifier import Classifier
from semigen.evaluation.estimates import to_json
from semigen.params.config import Params
from semigen.registry.challenger import Challenger, record_of
from semigen.registry.judging import judge, recorded_decision
from semigen.registry.promotion import Decision
from semigen.registry.question import Question, schema_of
from semigen.registry.registry import Registry
from semigen.registry.seen_rows import SEEN_ROWS
from semigen.registry.versions import Version
from semigen.report.promotion import promotion_markdown


def promote(
    params: Params, layout: Layout, *, reason: str = "by hand", force: bool = False
) -> Decision:
    """Decide whether ``models/classifier`` becomes champion, register it, and write the report.

    Writes ``models/registry``, ``reports/promotion.json`` and ``reports/promotion.md``. The
    registry is locked meanwhile, so that the champion does not change during the comparison, and
    the classifier that is judged is the copy that is registered.

    The champions of other questions, such as those of another table, stay.

    A classifier that is registered already is not registered again, but judged again unless it is
    the champion, because a parameter may have changed. A version that a rollback replaced is not
    promoted unless forced; otherwise the next scheduled run would undo the rollback.

    Args:
        params: All parameters; section ``promote`` has the conditions.
        layout: The project's files.
        reason: What started the run, for the history.
        force: Promote the classifier whatever the comparison and the gates say.

    Raises:
        UserError: If there is no classifier, or a file or column that is needed does not exist.
    """
    registry = Registry(layout.registry)
    with registry.locked(), registry.staged(layout.classifier) as staged:
        known, question = registry.find(staged.digest), Question.of(params, schema_of(staged))
        champion = registry.champion(question)
        decision = _without_judging(registry, known, champion, force=force)
        if decision is None:
            challenger = Challenger.read(Classifier.load(staged.classifier), params, layout)
            decision = judge(
                challenger,
                champion,
                params,
                layout,
                load=Classifier.load,
                others=registry.lineages(),
                force=force,
            )
            if known is None:
                challenger.seen_rows(layout).save(staged.folder / SEEN_ROWS)
                known = registry.add(
                    staged,
                    record_of(challenger, decision, params, reason),
                    promoted=decision.outcome == "promoted",
                    trigger=reason,
                    reason=decision.reason,
                )
            elif decision.outcome == "promoted":
                registry.promote(known.name, trigger=reason, reason=decision.reason)
            else:
                decision = replace(decision, outcome="unchanged")
            champion = registry.champion(question)
            decision = replace(decision, version=known.name, champion=_name(champion))
        # Written under the lock, so that the report is about the latest decision.
        write_json(layout.promotion_json, to_json(asdict(decision)))
        write_text(layout.promotion_markdown, promotion_markdown(decision))
    return decision


def _without_judging(
    registry: Registry, known: Version | None, champion: Version | None, *, force: bool
) -> Decision | None:
    """Return the decision about a registered classifier that is not judged again, or None."""
    if known is None:
        return None
    if known == champion:
        return recorded_decision(known, "it is the champion already", known.name)
    if registry.was_rolled_back(known.name) and not force:
        reason = "a rollback replaced it as champion; `semigen promote --force` promotes it again"
        return recorded_decision(known, reason, _name(champion))
    return None


def _name(version: Version | None) -> str | None:
    return None if version is None else version.name
