"""The figures as text: ratios first, then one table; and as JSON and SVG."""
import json
import statistics

import plot


def spread(values, form):
    """Median, and least and greatest where there are several."""
    values = [value for value in values if value is not None]
    if not values:
        return "-"
    middle = form(statistics.median(values))
    return middle if len(values) == 1 else f"{middle} ({form(min(values))}-{form(max(values))})"


def count(value):
    return f"{value:,.0f}"


def divide(a, b):
    return a / b if a is not None and b else None


# mongo_migrate.max_workers_per_job, as it is set where nobody sets it
DEFAULT_WORKERS = 4


class Round:
    """The results of one round: a contestant's figure, or None if it has none."""

    def __init__(self, results):
        self.results = results

    def get(self, name, figure):
        result = self.results.get(name)
        return None if result is None or result.failure else getattr(result, figure)

    def best(self, names, figure):
        return max((value for value in (self.get(name, figure) for name in names) if value), default=None)

    def heap_cpu(self):
        """Of a loop that reads by record ids, and finds its rows made."""
        figures = (self.get("drain record", "cpu_ns"), self.get("bare loop", "worker_ns"), self.get("bare rows", "worker_ns"))
        return None if None in figures else figures[0] + figures[1] - figures[2]


def ratios_of(round_, main):
    """Label -> value, all of them from one round."""
    ours = f"migrate {main}"
    bounds = [round_.get("drain natural", "cpu_ns"), round_.get("copy binary", "cpu_ns")]
    python = ("psycopg", "asyncpg")
    bounds = None if None in bounds else sum(bounds)
    best_python = round_.best(python, "rate")
    bare = round_.get("bare loop", "rate")
    return {
        "CPU / (natural drain + COPY BINARY)": divide(round_.get(ours, "cpu_ns"), bounds),
        "same, of the bare loop": divide(round_.get("bare loop", "cpu_ns"), bounds),
        "same, of record drain and heap": divide(round_.heap_cpu(), bounds),
        "CPU / CPU of the C rival, record": divide(round_.get(ours, "cpu_ns"), round_.get("rival record", "cpu_ns")),
        "copy / natural drain": divide(round_.get(ours, "rate"), round_.get("drain natural", "rate")),
        "copy / record drain": divide(round_.get(ours, "rate"), round_.get("drain record", "rate")),
        "copy / COPY BINARY": divide(round_.get(ours, "rate"), round_.get("copy binary", "rate")),
        "copy / bare loop": divide(round_.get(ours, "rate"), bare),
        "copy / C rival, record": divide(round_.get(ours, "rate"), round_.get("rival record", "rate")),
        "copy / C rival, _id": divide(round_.get(ours, "rate"), round_.get("rival id", "rate")),
        "copy / mongo_fdw": divide(round_.get(ours, "rate"), round_.get("mongo_fdw", "rate")),
        "copy / better of the Python peers": divide(round_.get(ours, "rate"), best_python),
        f"same, with {DEFAULT_WORKERS} workers, the default": divide(round_.get(f"migrate {DEFAULT_WORKERS}", "rate"), best_python),
        "copy / Arrow + ADBC": divide(round_.get(ours, "rate"), round_.get("adbc", "rate")),
        "copy / mongoexport": divide(round_.get(ours, "rate"), round_.get("mongoexport", "rate")),
        "whole / C rival with key, record": divide(round_.get(ours, "total_rate"), round_.get("rival record", "total_rate")),
    }


def align(rows, left):
    """Columns side by side; those whose numbers are in left to the left."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) if i in left else cell.rjust(width)
                      for i, (cell, width) in enumerate(zip(row, widths))).rstrip() for row in rows]


def ratio_lines(shapes, main):
    by_shape = [[ratios_of(Round(results), main) for results in shape.rounds] for shape in shapes]
    rows = [[f"ratio, with {main} workers"] + [shape.name for shape in shapes]]
    for label in by_shape[0][0]:
        cells = [spread([ratios[label] for ratios in rounds], lambda value: f"{value:.2f}") for rounds in by_shape]
        if any(cell != "-" for cell in cells):
            rows.append([label] + cells)
    return align(rows, {0})


HEADER = ["shape", "contestant", "docs/s", "MB/s", "with key/s", "CPU ns/doc", "mongod", "workers", "rest", "client",
          "worker MB", "client MB", "WAL B/doc", "key s", "rows, beside the reference"]


def rows_equal(shape, results):
    """What the table is worth: rows equal to the reference, and what is missing."""
    worst = min(results, key=lambda result: result.equal_rows)
    if worst.equal_rows == shape.reference_rows:
        text = "equal"
    else:
        text = f"{count(shape.reference_rows - worst.equal_rows)} of {count(shape.reference_rows)} LOST OR CHANGED"
    return text + (f", {count(worst.rejected)} rejected" if worst.rejected else "")


def table_row(shape, contestant, results):
    failed = next((result.failure for result in results if result.failure), "")
    if failed:
        return [shape.name, contestant.label] + ["-"] * 12 + [f"FAILS: {failed}"]

    def median(figure):
        return statistics.median(getattr(result, figure) for result in results)

    def cell(figure, scale=1, form=count):
        value = median(figure) / scale
        return form(value) if value else "-"

    writes = contestant.writes
    return [shape.name, contestant.label, spread([result.rate for result in results], count),
            f"{median('rate') * shape.average_bytes / 1e6:,.0f}", cell("total_rate") if writes else "-", cell("cpu_ns"),
            cell("mongod_ns"), cell("worker_ns"), cell("rest_ns") if writes else "-", cell("client_ns"),
            cell("worker_kb", 1024, lambda value: f"{value:.1f}"), cell("client_kb", 1024, lambda value: f"{value:.1f}"),
            cell("wal_bytes") if writes else "-", cell("key_seconds", 1, lambda value: f"{value:.2f}"),
            rows_equal(shape, results) if writes else "-"]


def table_lines(shapes):
    rows = [HEADER]
    for shape in shapes:
        rows += [table_row(shape, contestant, [results[contestant.name] for results in shape.rounds])
                 for contestant in shape.contestants]
    lines = align(rows, {0, 1, len(HEADER) - 1})
    return lines[:1] + ["-" * len(lines[0])] + lines[1:]


def text(title, shapes, main, notes):
    described = [f"{shape.name}: {count(shape.documents)} documents of {count(shape.average_bytes)} B, split {shape.split}, "
                 f"{shape.checked}" for shape in shapes]
    return "\n".join([title, "", *ratio_lines(shapes, main), "", *table_lines(shapes), "", *described, *notes])


def as_json(title, shapes):
    return json.dumps({"title": title, "shapes": [
        {"name": shape.name, "documents": shape.documents, "average_bytes": shape.average_bytes, "split": shape.split,
         "rounds": [{name: vars(result) for name, result in results.items()} for results in shape.rounds]}
        for shape in shapes]}, indent=1)


def as_svg(title, shapes, workers):
    panels = []
    for shape in shapes:
        rates = {contestant.name: [results[contestant.name].rate for results in shape.rounds]
                 for contestant in shape.contestants}
        points = [(n, min(rates[f"migrate {n}"]), statistics.median(rates[f"migrate {n}"]), max(rates[f"migrate {n}"]))
                  for n in workers]
        levels = {name: statistics.median(values) for name, values in rates.items() if not name.startswith("migrate")}
        panels.append((f"{shape.name}, {count(shape.average_bytes)} B", points, levels))
    return plot.draw(panels, title)
