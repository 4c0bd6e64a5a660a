"""Draws dashboards from the answers that Prometheus gave to their questions: draw.py ANSWERS.json FOLDER."""

import json
import math
import sys
import textwrap
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patches import FancyBboxPatch, Rectangle, Wedge
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

PAGE, CARD, EDGE, TEXT, FAINT = "#111217", "#181b1f", "#2c3235", "#d8d9da", "#8e9297"
COLOURS = {"red": "#f2495c", "orange": "#ff9830", "yellow": "#fade2a", "green": "#73bf69", "blue": "#5794f2"}
SERIES = ["#73bf69", "#f2cc0c", "#5794f2", "#ff9830", "#b877d9", "#f2495c", "#8ab8ff", "#96d98d", "#ffcb7d", "#ca95e5", "#ff7383", "#37872d"]
HEAT = LinearSegmentedColormap.from_list("heat", [CARD, "#5c2f10", "#c4601a", "#ffb357", "#fff2d9"])
# Of Grafana's grid: 24 columns, and rows of 30 pixels.
COLUMN, ROW, GAP = 0.68, 0.36, 0.06


def scaled(value, steps):
    for size, name in steps:
        if abs(value) >= size:
            return f"{value / size:.3g}{name}"
    size, name = steps[-1]
    return f"{value / size:.3g}{name}" if value else f"0{name}"


def shown(value, unit):
    """A value as Grafana writes it in this unit."""
    if unit == "percentunit":
        return f"{value * 100:.3g}%"
    if unit == "s":
        return scaled(value, [(86400, " days"), (3600, " hours"), (60, " mins"), (1, " s"), (1e-3, " ms"), (1e-6, " µs")])
    if unit == "bytes":
        return scaled(value, [(2**30, " GiB"), (2**20, " MiB"), (2**10, " KiB"), (1, " B")])
    if unit == "bool_yes_no":
        return "Yes" if value else "No"
    if unit.startswith("suffix:"):
        return f"{value:.3g}" + unit.removeprefix("suffix:").rstrip()
    return scaled(value, [(1e6, " Mil"), (1e3, " K"), (1, "")])


def number(text):
    value = float(text)
    return value if math.isfinite(value) else math.nan


class Panel:
    def __init__(self, panel, now):
        self.panel, self.now = panel, now
        self.defaults = panel["fieldConfig"]["defaults"]
        # Of a table these belong to the value alone.
        own = {one["id"]: one["value"] for override in panel["fieldConfig"]["overrides"] for one in override["properties"]}
        self.unit = own.get("unit") or self.defaults["unit"]
        self.coloured = own.get("custom.cellOptions", {}).get("type") == "color-background"
        self.series = [(answer["name"], self.points(answer["series"])) for answer in panel["answers"]]

    @staticmethod
    def points(series):
        values = series.get("values") or [series["value"]]
        return [(float(at), number(value)) for at, value in values]

    def last(self, points):
        known = [value for _, value in points if not math.isnan(value)]
        return known[-1] if known else math.nan

    def colour(self, value):
        found = "blue"
        for step in self.defaults["thresholds"]["steps"]:
            if step["value"] is None or value >= step["value"]:
                found = step["color"]
        return COLOURS[found]

    def written(self, value):
        if self.unit == "dateTimeFromNow":
            return shown(max(self.now - value / 1000, 0), "s") + " ago"
        return "no data" if math.isnan(value) else shown(value, self.unit)

    def draw(self, figure, box):
        left, bottom, width, height = box
        inner = lambda l, b, r, t: figure.add_axes(
            [left + l / figure.w, bottom + b / figure.h, width - (l + r) / figure.w, height - (b + t) / figure.h], facecolor="none"
        )
        title = self.panel["title"]
        figure.text(left + 0.1 / figure.w, bottom + height - 0.22 / figure.h, title, color=TEXT, fontsize=9, fontweight="bold")
        {
            "gauge": self.gauge,
            "heatmap": self.heatmap,
            "stat": self.stat,
            "state-timeline": self.states,
            "table": self.table,
            "timeseries": self.lines,
        }[self.panel["type"]](inner)

    def stat(self, inner):
        name, points = self.series[0]
        value = self.last(points)
        axes = inner(0.05, 0.08, 0.05, 0.35)
        known = [(at, value) for at, value in points if not math.isnan(value)]
        if len(known) > 1 and self.unit not in ("dateTimeFromNow", "bool_yes_no"):
            xs, ys = zip(*known)
            axes.fill_between(xs, ys, min(0, *ys), color=self.colour(value), alpha=0.2, linewidth=0)
            axes.plot(xs, ys, color=self.colour(value), linewidth=0.8)
            axes.set_ylim(min(0, *ys), max(max(ys) * 2.4, 1e-9))
        axes.axis("off")
        text = self.written(value)
        axes.text(0.5, 0.62, text, color=self.colour(value), fontsize=22 if len(text) < 8 else 15, ha="center", va="center", transform=axes.transAxes)

    def gauge(self, inner):
        value = self.last(self.series[0][1])
        axes = inner(0.1, 0.05, 0.1, 0.35)
        axes.set_xlim(-1.15, 1.15)
        axes.set_ylim(-0.35, 1.15)
        axes.set_aspect("equal")
        axes.axis("off")
        axes.add_patch(Wedge((0, 0), 1, 0, 180, width=0.28, color=EDGE))
        part = min(max(value, 0.0), 1.0)
        axes.add_patch(Wedge((0, 0), 1, 180 - 180 * part, 180, width=0.28, color=self.colour(value)))
        steps = self.defaults["thresholds"]["steps"]
        ends = [max(step["value"] or 0, 0) for step in steps] + [1]
        for step, begin, end in zip(steps, ends, ends[1:]):
            axes.add_patch(Wedge((0, 0), 1.1, 180 - 180 * end, 180 - 180 * begin, width=0.06, color=COLOURS[step["color"]]))
        axes.text(0, 0.02, self.written(value), color=self.colour(value), fontsize=17, ha="center", va="center")

    def clock(self, axes):
        axes.set_xlim(self.now - self.span, self.now)
        axes.xaxis.set_major_locator(FixedLocator([self.now - self.span * part / 4 for part in range(5)]))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _: f"-{self.now - at:.0f} s" if self.now - at > 1 else "now"))
        axes.tick_params(colors=FAINT, labelsize=7, length=0)
        axes.grid(color=EDGE, linewidth=0.5)
        axes.set_axisbelow(True)
        for spine in axes.spines.values():
            spine.set_visible(False)

    def lines(self, inner):
        most = 8
        series = sorted(self.series, key=lambda one: -max([v for _, v in one[1] if not math.isnan(v)], default=0))
        legend, more = series[:most], max(len(series) - most, 0)
        rows = (len(legend) + (1 if more else 0) + 1) // 2
        axes = inner(0.55, 0.3 + 0.15 * rows, 0.12, 0.36)
        stacked = self.defaults["custom"]["stacking"]["mode"] == "normal"
        floor = {}
        for index, (name, points) in enumerate(series):
            colour = SERIES[index % len(SERIES)]
            xs = [at for at, _ in points]
            ys = [value for _, value in points]
            if stacked:
                below = [floor.get(at, 0.0) for at in xs]
                ys = [under + (0 if math.isnan(value) else value) for under, value in zip(below, ys)]
                floor.update(zip(xs, ys))
                axes.fill_between(xs, below, ys, color=colour, alpha=0.4, linewidth=0)
            else:
                axes.fill_between(xs, ys, 0, color=colour, alpha=0.06, linewidth=0)
            axes.plot(xs, ys, color=colour, linewidth=1)
        self.clock(axes)
        top = axes.get_ylim()[1]
        axes.set_ylim(0, top if top > 0 and any(v for _, p in series for _, v in p if not math.isnan(v)) else 1)
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: shown(value, self.unit)))
        entries = [(SERIES[index % len(SERIES)], f"{name}  {self.written(self.last(points))}") for index, (name, points) in enumerate(legend)]
        if more:
            entries.append((CARD, f"and {more} more"))
        below = inner(0.12, 0.06, 0.08, 0.36)
        below.axis("off")
        tall = below.get_window_extent().height / below.figure.dpi
        for index, (colour, text) in enumerate(entries):
            x, y = index % 2 * 0.5, (rows - index // 2 - 0.5) * 0.15 / tall
            below.add_patch(Rectangle((x, y - 0.01), 0.018, 0.02, color=colour, transform=below.transAxes))
            below.text(x + 0.026, y, textwrap.shorten(text, 42), color=FAINT, fontsize=6.5, va="center", transform=below.transAxes)

    def heatmap(self, inner):
        axes = inner(0.62, 0.3, 0.12, 0.36)
        buckets = sorted((math.inf if name == "+Inf" else float(name), points) for name, points in self.series)
        times = sorted({at for _, points in buckets for at, _ in points})
        rows, before = [], {}
        for _, points in buckets:
            now = {at: 0 if math.isnan(value) else value for at, value in points}
            rows.append([max(now.get(at, 0) - before.get(at, 0), 0) for at in times])
            before = now
        used = [index for index, row in enumerate(rows) if any(row)]
        first, last = (max(used[0] - 1, 0), min(used[-1] + 2, len(rows))) if used else (0, len(rows))
        rows = [[math.sqrt(cell) for cell in row] for row in rows[first:last]]
        step = times[1] - times[0] if len(times) > 1 else 1
        axes.pcolormesh([*times, times[-1] + step], range(len(rows) + 1), rows, cmap=HEAT)
        self.clock(axes)
        axes.grid(False)
        names = ["+Inf" if math.isinf(end) else shown(end, self.unit) for end, _ in buckets[first:last]]
        axes.set_yticks([at + 1 for at in range(len(names))], names)

    def states(self, inner):
        axes = inner(1.1, 0.45, 0.12, 0.4)
        names = self.defaults["mappings"][0]["options"]
        for row, (name, points) in enumerate(self.series):
            for (at, value), (until, _) in zip(points, [*points[1:], (points[-1][0] + 1, 0)]):
                axes.add_patch(Rectangle((at, row + 0.15), until - at, 0.7, color=self.colour(value), linewidth=0))
            axes.text(points[0][0] + 2, row + 0.5, names[f"{self.last(points):.0f}"]["text"], color=PAGE, fontsize=8, va="center")
        self.clock(axes)
        axes.grid(False)
        axes.set_ylim(0, max(len(self.series), 1))
        axes.set_yticks([row + 0.5 for row in range(len(self.series))], [name for name, _ in self.series])

    def table(self, inner):
        axes = inner(0.1, 0.08, 0.1, 0.36)
        axes.axis("off")
        answers = self.panel["answers"]
        hidden = ("__name__", "job")
        columns = [name for name in sorted({name for answer in answers for name in answer["series"]["metric"]}) if name not in hidden] + ["Value"]
        tall = axes.get_window_extent().height / axes.figure.dpi
        for row in range(-1, min(len(answers), int(tall / 0.22) - 1)):
            y = 1 - (row + 1.5) * 0.22 / tall
            for place, column in enumerate(columns):
                if row < 0:
                    text, colour = column, COLOURS["blue"]
                elif column == "Value":
                    value = number(answers[row]["series"]["value"][1])
                    text, colour = self.written(value), PAGE if self.coloured else TEXT
                    if self.coloured:
                        cell = (place / len(columns) - 0.01, y - 0.09 / tall)
                        axes.add_patch(Rectangle(cell, 1 / len(columns), 0.18 / tall, color=self.colour(value), linewidth=0, transform=axes.transAxes))
                else:
                    text, colour = answers[row]["series"]["metric"].get(column, ""), TEXT
                axes.text(place / len(columns), y, text, color=colour, fontsize=8, va="center", transform=axes.transAxes)


def draw(board, file):
    spans = [answer["series"]["values"] for panel in board["panels"] for answer in panel.get("answers", []) if "values" in answer["series"]]
    begin, now = min(values[0][0] for values in spans), max(values[-1][0] for values in spans)
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in board["panels"])
    width, height = 24 * COLUMN, rows * ROW + 0.7
    figure = plt.figure(figsize=(width, height), facecolor=PAGE)
    figure.w, figure.h = width, height
    figure.text(0.012, 1 - 0.42 / height, board["title"], color=TEXT, fontsize=15)
    figure.text(0.988, 1 - 0.42 / height, f"a test gateway under load, {now - begin:.0f} s", color=FAINT, fontsize=9, ha="right")
    for panel in board["panels"]:
        place = panel["gridPos"]
        left, top = place["x"] * COLUMN, height - 0.6 - place["y"] * ROW
        if panel["type"] == "row":
            figure.text(0.012, (top - 0.26) / height, panel["title"], color=TEXT, fontsize=10.5)
            continue
        wide, tall = place["w"] * COLUMN - GAP, place["h"] * ROW - GAP
        box = [(left + GAP / 2) / width, (top - tall) / height, wide / width, tall / height]
        figure.patches.append(
            FancyBboxPatch(
                box[:2], box[2], box[3], boxstyle="square,pad=0", facecolor=CARD, edgecolor=EDGE, linewidth=0.6, transform=figure.transFigure, figure=figure, zorder=-1
            )
        )
        one = Panel(panel, now)
        one.span = now - begin
        one.draw(figure, box)
    figure.savefig(file, dpi=80, facecolor=PAGE)
    plt.close(figure)


def main():
    answers, folder = Path(sys.argv[1]), Path(sys.argv[2])
    for board in json.loads(answers.read_text()):
        draw(board, folder / f"dashboard-{board['uid'].removeprefix('mayfly-')}.png")


main()
