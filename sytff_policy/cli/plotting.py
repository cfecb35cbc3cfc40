"""The plot of `sytff budget plan`: how many runs each order admits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sytff_policy.canonical import decimal_text
from sytff_policy.cli.planning import workload_text
from sytff_policy.errors import InvalidInput
from sytff_policy.privacy import Plan

FORMATS = (".svg", ".png")


def check_plot_file(path: Path) -> None:
    """Refuses a file that no plot can be written to, before anything is computed."""
    if path.suffix.lower() not in FORMATS:
        raise InvalidInput("--plot", "has no known ending", value=str(path), limit=".svg or .png")
    if not path.parent.is_dir():
        raise InvalidInput("--plot", "lies in a folder that does not exist", value=str(path))


def plot_plan(made: Plan, path: Path) -> None:
    """Writes the plot to `path`; the ending chooses the format.

    Every workload has a colour: its line is the Renyi filter over its order, the dashed line the
    best `sum` filter and the dotted one `zcdp`. The recommended choice is marked.
    """
    # Imported late: it takes a second.
    import matplotlib
    from matplotlib.figure import Figure

    # The same plan makes the same bytes; text stays text.
    with matplotlib.rc_context({"svg.hashsalt": "sytff", "svg.fonttype": "none"}):
        figure = Figure(figsize=(8.0, 5.0), layout="constrained")
        axes = figure.subplots()
        for index in range(len(made.workloads)):
            _draw(axes, made, index)
        axes.set_xscale("log")
        axes.set_yscale("symlog", linthresh=1.0)
        axes.set_ylim(bottom=0.0)
        ticks = [2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128, 256]
        axes.set_xticks(ticks, labels=[str(tick) for tick in ticks])
        axes.minorticks_off()
        axes.set_xlabel("order of the Renyi filter")
        axes.set_ylabel("runs that fit the budget")
        budget = made.best.filter
        axes.set_title(
            f"epsilon {decimal_text(budget.epsilon)}, delta {budget.delta:g}; "
            f"recommended: {made.best.name}"
        )
        axes.grid(visible=True, alpha=0.3)
        axes.legend(fontsize="small")
        metadata = {"Date": None} if path.suffix.lower() == ".svg" else {"Software": None}
        try:
            figure.savefig(path, dpi=150, metadata=metadata)
        except OSError as error:
            raise InvalidInput("--plot", f"cannot be written: {error}", value=str(path)) from None


def _draw(axes: Any, made: Plan, index: int) -> None:
    workload, colour = made.workloads[index], f"C{index}"
    points = sorted(
        (float(choice.filter.parameters()["order"]), float(choice.ratios[index]))
        for choice in made.choices
        if choice.filter.kind == "rdp"
    )
    label = f"run {index + 1}: {workload_text(workload)}"
    axes.plot([x for x, _ in points], [y for _, y in points], color=colour, label=label)
    for kind, style in (("sum", "--"), ("zcdp", ":")):
        choice = made.best_of(kind)
        if choice is not None:
            level = float(choice.ratios[index])
            axes.axhline(level, color=colour, linestyle=style, label=f"{choice.name}: {level:.3g}")
    if made.best.filter.kind == "rdp":
        order = float(made.best.filter.parameters()["order"])
        axes.plot([order], [float(made.best.ratios[index])], "o", color=colour)
