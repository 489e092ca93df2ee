"""What the marks of a leaderboard mean, in sentences for those who read it away from the report."""

from __future__ import annotations

from bench.report.leaderboards import Board
from bench.statistics.verdicts import EXPLANATION, NOT_COMPARABLE, NOT_RUN
from bench.words import listed


def readings(board: Board) -> list[str]:
    """Sentences on what ± and bold mean here, what is not ranked, and what the verdicts say."""
    cells = [cell for line in board.lines for cell in line.cells]
    best = [cell for cell in cells if cell.best]
    sentences = []
    if any(cell.half_width is not None for cell in cells):
        sentences.append("Mean over seeds ± half-width of its 95% Student-t interval.")
    tests = ["by a two-sided t-test at 5%, paired where seeds are shared"] * any(cell.ok > 1 for cell in best)
    tests += ["of one seed to three digits, without a test"] * any(cell.ok == 1 for cell in best)
    if tests:
        sentences.append(f"Bold: the best of a column and all that cannot be told from it, {'; '.join(tests)}.")
    unranked = [
        line.setting.label
        for line in board.lines
        if line.setting.is_reference and any(cell.mean is not None for cell in line.cells)
    ]
    unranked += ["cells with fewer seeds than planned"] * any(cell.seeds for cell in cells)
    if unranked:
        sentences.append(f"Not ranked and never bold: {listed(unranked)}.")
    verdicts = {cell.verdict for line in board.lines for cell in line.published if cell}
    return [*sentences, *([EXPLANATION] if verdicts - {NOT_COMPARABLE, NOT_RUN} else [])]
