"""The results for people: a table, and a plot where matplotlib is installed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

COLUMNS = {
    "cpu_ms_per_stream_second": "CPU ms",
    "minstr_per_stream_second": "Minstr",
    "rss_kb_per_stream": "kB more a stream",
    "threads": "threads",
    "packets_expected": "sent",
    "packets_received": "received",
    "content_ok": "content",
}


def table(result: dict[str, Any]) -> str:
    """Lay a run out as a Markdown table."""
    title = f"**{result['job']}, N = {result['streams']}**, per stream-second, {result['seconds']:g} s"
    rows = [["peer", *COLUMNS.values(), "loop lag p99 ms", "ours is"]]
    for peer, row in result["peers"].items():
        ratio = result["ratios"].get(peer)
        cells = [_cell(row[key]) for key in COLUMNS]
        rows.append(
            [
                peer,
                *cells,
                _cell((row["loop_lag_ms"] or {}).get("p99")),
                f"1/{1 / ratio:.1f}" if ratio else "",
            ]
        )
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|" + "---|" * len(rows[0]))
    skipped = [f"Skipped {peer}: {why}" for peer, why in result["skipped"].items()]
    remarks = [f"{peer}: {row['remark']}" for peer, row in result["peers"].items() if row.get("remark")]
    return "\n".join([title, "", *lines, "", *remarks, *skipped])


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "ok" if value else "WRONG"
    return f"{value:g}" if isinstance(value, float) else str(value)


def keep(results: list[dict[str, Any]], directory: Path) -> None:
    """Write JSON, table and plot."""
    directory.mkdir(exist_ok=True)
    (directory / "density.json").write_text(json.dumps(results, indent=1) + "\n")
    (directory / "density.md").write_text("\n\n".join(table(result) for result in results) + "\n")
    plot(results, directory / "density.svg")


def plot(results: list[dict[str, Any]], path: Path) -> None:
    """Draw CPU time over streams, one panel for each job; nothing without matplotlib."""
    try:
        import matplotlib as mpl
    except ImportError:
        return
    mpl.use("Agg")
    from matplotlib import pyplot

    jobs = list(dict.fromkeys(result["job"] for result in results))
    figure, panels = pyplot.subplots(1, len(jobs), figsize=(5 * len(jobs), 4), squeeze=False)
    for panel, job in zip(panels[0], jobs, strict=True):
        of_job = [result for result in results if result["job"] == job]
        for peer in dict.fromkeys(peer for result in of_job for peer in result["peers"]):
            points = [
                (r["streams"], r["peers"][peer]["cpu_ms_per_stream_second"])
                for r in of_job
                if peer in r["peers"]
            ]
            panel.plot(*zip(*points, strict=True), marker="o", label=peer)
        panel.set(title=job, xlabel="streams", ylabel="CPU ms per stream-second", xscale="log", yscale="log")
        panel.grid(visible=True, alpha=0.3)
        panel.legend(fontsize="small")
    figure.tight_layout()
    figure.savefig(path)
